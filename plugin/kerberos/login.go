package kerberos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/quill-kafka/quill/internal/readfile"
	"github.com/quill-kafka/quill/network/sasl"
)

// source is where the credentials come from.
type source struct {
	kind      kind
	principal string
	file      string
	password  sasl.Secret
}

type kind uint8

const (
	fromKeytab kind = iota
	fromPassword
	fromCache
)

// String says whose credentials they are and where they come from.
func (s source) String() string {
	switch s.kind {
	case fromKeytab:
		return s.principal + " (keytab " + s.file + ")"
	case fromPassword:
		return s.principal + " (password)"
	}
	return "the principal of credential cache " + s.cacheFile()
}

// cacheFile returns the path of the credential cache.
func (s source) cacheFile() string {
	file := s.file
	if file == "" {
		file = os.Getenv("KRB5CCNAME")
	}
	if file == "" {
		return filepath.Join("/tmp", "krb5cc_"+strconv.Itoa(os.Getuid()))
	}
	return strings.TrimPrefix(file, "FILE:")
}

// held is gokrb5's client, with what it was made of.
type held struct {
	*client.Client
	config *config.Config
	stamps []stamp
}

// destroy ends the renewal of tickets. A nil held has none.
func (h *held) destroy() {
	if h != nil {
		h.Destroy()
	}
}

// stamp tells one content of a file from the next.
type stamp struct {
	file string
	time time.Time
	size int64
}

// stampOf returns the stamp of a file; of a missing one, that it is missing.
func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{file: file, size: -1}
	}
	return stamp{file, info.ModTime(), info.Size()}
}

// stamps returns the stamps of the files that the tickets depend on.
func (m *Mechanism) stamps() []stamp {
	all := []stamp{stampOf(m.configFile())}
	switch m.source.kind {
	case fromKeytab:
		all = append(all, stampOf(m.source.file))
	case fromCache:
		all = append(all, stampOf(m.source.cacheFile()))
	}
	return all
}

func (m *Mechanism) configFile() string {
	if m.options.ConfigFile != "" {
		return m.options.ConfigFile
	}
	if file := os.Getenv("KRB5_CONFIG"); file != "" {
		return file
	}
	return "/etc/krb5.conf"
}

// login returns a client that has a ticket-granting ticket. While files that changed can't be used, that is the one before.
func (m *Mechanism) login() (*held, error) {
	if now := m.stamps(); m.held == nil || !slices.Equal(m.held.stamps, now) {
		fresh, err := m.open(now)
		if err == nil {
			err = m.affirm(fresh)
		}
		if err == nil {
			m.held.destroy()
			m.held = fresh
			return fresh, nil
		}
		fresh.destroy()
		if m.held == nil {
			return nil, err
		}
	}
	return m.held, m.affirm(m.held)
}

// affirm logs in if there is no ticket-granting ticket, or it has ended. gokrb5 itself would try to renew one that has ended.
func (m *Mechanism) affirm(h *held) error {
	if err := h.AffirmLogin(); err != nil {
		return explain(fmt.Sprintf("get a ticket for %v", m.source), err)
	}
	return nil
}

// open reads the files and makes a client of them. It does not speak to the KDC.
func (m *Mechanism) open(stamps []stamp) (*held, error) {
	file := m.configFile()
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	h := &held{config: cfg, stamps: stamps}
	settings := client.DisablePAFXFAST(true) // Active Directory does not know it
	name, realm := splitPrincipal(m.source.principal, cfg.LibDefaults.DefaultRealm)
	if m.source.kind != fromCache && (name == "" || realm == "") {
		return nil, fmt.Errorf("the principal %q needs a name and a realm; write name@REALM, or set default_realm in %s", m.source.principal, file)
	}
	switch m.source.kind {
	case fromKeytab:
		keys, err := loadKeytab(m.source.file)
		if err != nil {
			return nil, err
		}
		h.Client = client.NewWithKeytab(name, realm, keys, cfg, settings)
	case fromPassword:
		h.Client = client.NewWithPassword(name, realm, m.source.password.Reveal(), cfg, settings)
	case fromCache:
		if h.Client, err = fromCCache(m.source.cacheFile(), cfg, settings); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// maxFile bounds the files that are read: krb5.conf, a keytab, a credential cache.
const maxFile = 1 << 20

// loadConfig reads krb5.conf. Directives that gokrb5 does not know are left out.
func loadConfig(file string) (cfg *config.Config, err error) {
	text, _, err := readfile.Read(file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read krb5.conf (%s): %w", file, err)
	}
	defer func() {
		if v := recover(); v != nil { // gokrb5 indexes without a look at the length
			cfg, err = nil, fmt.Errorf("read krb5.conf (%s): it is damaged: %s", file, cite(fmt.Sprint(v)))
		}
	}()
	cfg, err = config.NewFromString(string(text))
	var unsupported config.UnsupportedDirective
	if err != nil && !errors.As(err, &unsupported) {
		return nil, fmt.Errorf("read krb5.conf (%s): %s", file, cite(err.Error()))
	}
	return cfg, nil
}

// splitPrincipal splits name@REALM. The name may hold an escaped @.
func splitPrincipal(principal, defaultRealm string) (name, realm string) {
	if at := strings.LastIndexByte(principal, '@'); at > 0 && principal[at-1] != '\\' {
		return principal[:at], principal[at+1:]
	}
	return principal, defaultRealm
}

func loadKeytab(file string) (*keytab.Keytab, error) {
	keys := keytab.New()
	if err := readFile("keytab", file, keys.Unmarshal); err != nil {
		return nil, err
	}
	return keys, nil
}

func fromCCache(file string, cfg *config.Config, settings func(*client.Settings)) (c *client.Client, err error) {
	if strings.Contains(strings.TrimPrefix(file, filepath.VolumeName(file)), ":") {
		return nil, fmt.Errorf("credential cache %s: only caches in files are supported; name one (kinit -c FILE:…)", file)
	}
	err = readFile("credential cache", file, func(b []byte) error {
		var cache credentials.CCache
		if err := cache.Unmarshal(b); err != nil {
			return err
		}
		c, err = client.NewFromCCache(&cache, cfg, settings)
		return err
	})
	return c, err
}

// readFile reads a file by one of gokrb5's functions. These index without a look at the length, and cite the file in
// their errors, keys included: of both nothing is passed on.
func readFile(what, file string, decode func([]byte) error) (err error) {
	text, _, err := readfile.Read(file, maxFile)
	if err != nil {
		return fmt.Errorf("read %s %s: %w", what, file, err)
	}
	defer func() {
		if recover() != nil {
			err = errors.New("a panic")
		}
		if err != nil {
			err = fmt.Errorf("read %s %s: it is damaged, or of another format", what, file)
		}
	}()
	return decode(text)
}

// ticketFor returns a ticket for the node.
func (m *Mechanism) ticketFor(ctx context.Context, peer sasl.Peer) (*ticket, error) {
	h, err := m.login()
	if err != nil {
		return nil, err
	}
	service := m.options.ServiceName + "/" + m.hostOf(ctx, peer.Host, h.config)
	raw, key, err := h.GetServiceTicket(service)
	if err != nil {
		return nil, explain(fmt.Sprintf("get a ticket for the service %s", cite(service)), err)
	}
	return &ticket{Ticket: raw, key: key, client: h.Credentials.CName(), realm: h.Credentials.Domain(), service: service}, nil
}

// hints say what to look at, by what is in an error of gokrb5.
var hints = []struct{ code, hint string }{
	{"KDC_ERR_C_PRINCIPAL_UNKNOWN", "the KDC does not know this principal"},
	{"KDC_ERR_S_PRINCIPAL_UNKNOWN", "the KDC does not know the brokers under this name: are sasl.kerberos.service.name and the host in the address right?"},
	{"KDC_ERR_PREAUTH_FAILED", "the password or the keytab's key is wrong"},
	{"KDC_ERR_CLIENT_REVOKED", "the principal is locked or has ended"},
	{"KDC_ERR_KEY_EXPIRED", "the password has ended"},
	{"KDC_ERR_ETYPE_NOSUPP", "the KDC knows none of this side's encryption types"},
	{"KRB_AP_ERR_SKEW", "this machine's clock and the KDC's differ too much"},
	{"matching key not found in keytab", "the keytab has no key of this principal, or none that the KDC takes"},
	{"password/keytab incorrect", "the password or the keytab's key is wrong"},
	{"communicat", "is the KDC of krb5.conf right, and can it be reached?"},
	{"no valid existing session", "the tickets of the cache have ended: renew them (kinit)"},
}

// explain returns an error of gokrb5 with what was being done and what to look at.
func explain(doing string, err error) error {
	for _, h := range hints {
		if strings.Contains(err.Error(), h.code) {
			return fmt.Errorf("%s: %s; %s", doing, citeEnds(err.Error()), h.hint)
		}
	}
	return fmt.Errorf("%s: %s", doing, citeEnds(err.Error()))
}

// resolver is the part of net.Resolver that host names need.
type resolver interface {
	LookupCNAME(ctx context.Context, host string) (string, error)
	LookupHost(ctx context.Context, host string) ([]string, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// hostOf returns the name of a node as its principal has it, see Options.CanonicalHosts. Where the name service does not help, it
// is the one that was given.
func (m *Mechanism) hostOf(ctx context.Context, host string, cfg *config.Config) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if net.ParseIP(host) != nil {
		return m.nameOf(ctx, host, host)
	}
	if !m.options.CanonicalHosts {
		if !cfg.LibDefaults.DNSCanonicalizeHostname || strings.Contains(host, ".") {
			return host
		}
		if full, err := m.names.LookupCNAME(ctx, host); err == nil && strings.HasPrefix(strings.ToLower(full), host+".") {
			return clean(full, host)
		}
		return host
	}
	if full, err := m.names.LookupCNAME(ctx, host); err == nil {
		host = clean(full, host)
	}
	if addrs, err := m.names.LookupHost(ctx, host); err == nil && len(addrs) > 0 && cfg.LibDefaults.RDNS {
		host = m.nameOf(ctx, addrs[0], host)
	}
	return host
}

// nameOf returns the name of an address, or instead.
func (m *Mechanism) nameOf(ctx context.Context, addr, instead string) string {
	names, err := m.names.LookupAddr(ctx, addr)
	if err != nil || len(names) == 0 {
		return instead
	}
	return clean(names[0], instead)
}

// clean returns a name of the name service in the form of principals, or instead of one that is none.
func clean(name, instead string) string {
	if name = strings.ToLower(strings.TrimSuffix(name, ".")); name == "" || strings.ContainsAny(name, "/@ ") {
		return instead
	}
	return name
}
