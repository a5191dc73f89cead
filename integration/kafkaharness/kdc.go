package kafkaharness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Realm is the realm of a KDC.
const Realm = "KAFKA.TEST"

// KDC is a key distribution center of MIT Kerberos on loopback, with a realm of its own. The methods may be called
// concurrently, but for Stop and Restart.
type KDC struct {
	dir     string
	addr    string
	server  string // paths of the commands
	admin   string
	kinit   string
	process *process
}

// kdcPackages are what Debian calls the commands.
const kdcPackages = "Debian packages krb5-kdc, krb5-admin-server, krb5-user"

// StartKDC makes a realm and starts its KDC. If a command is missing the error is a MissingError.
func StartKDC(ctx context.Context) (*KDC, error) {
	k := new(KDC)
	var create string
	for name, path := range map[string]*string{"krb5kdc": &k.server, "kadmin.local": &k.admin, "kinit": &k.kinit, "kdb5_util": &create} {
		found, err := exec.LookPath(name)
		if err != nil {
			found, err = exec.LookPath(filepath.Join("/usr/sbin", name)) // not in everybody's path
		}
		if err != nil {
			return nil, &MissingError{name, "authenticate with Kerberos (" + kdcPackages + ")"}
		}
		*path = found
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	k.addr = address(ports[0])
	if k.dir, err = os.MkdirTemp("", "quill-kdc-"); err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(k.ConfigFile(), fmt.Appendf(nil, "[libdefaults]\n default_realm = %s\n dns_lookup_realm = false\n dns_lookup_kdc = false\n rdns = false\n"+
			" dns_canonicalize_hostname = false\n udp_preference_limit = 1\n[realms]\n %s = {\n  kdc = %s\n }\n", Realm, Realm, k.addr), 0o644),
		os.WriteFile(k.path("kdc.conf"), fmt.Appendf(nil, "[kdcdefaults]\n kdc_listen = %s\n kdc_tcp_listen = %s\n[realms]\n %s = {\n  database_name = %s\n  key_stash_file = %s\n"+
			"  acl_file = %s\n  max_life = 1h\n  max_renewable_life = 2h\n  supported_enctypes = aes256-cts:normal aes128-cts:normal\n }\n[logging]\n kdc = FILE:%s\n",
			k.addr, k.addr, Realm, k.path("principal"), k.path("stash"), k.path("acl"), k.path("kdc.log")), 0o644),
	)
	if err == nil {
		err = run(k.command(ctx, create, "create", "-s", "-P", "master", "-r", Realm))
	}
	if err == nil {
		err = k.Restart(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// command returns a command of Kerberos with the realm's own configuration.
func (k *KDC) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "KRB5_CONFIG="+k.ConfigFile(), "KRB5_KDC_PROFILE="+k.path("kdc.conf"))
	return cmd
}

func (k *KDC) path(name string) string { return filepath.Join(k.dir, name) }

// ConfigFile returns the path of the realm's krb5.conf.
func (k *KDC) ConfigFile() string { return k.path("krb5.conf") }

// Admin runs a query of kadmin, "addprinc -pw secret alice".
func (k *KDC) Admin(ctx context.Context, query string) error {
	cmd := k.command(ctx, k.admin, "-r", Realm, "-q", query)
	out, err := cmd.CombinedOutput() // it ends with 0 whatever happened
	if err != nil || strings.Contains(string(out), ": ") && strings.Contains(string(out), " while ") {
		return fmt.Errorf("kadmin.local %q: %w\n%s", query, err, out)
	}
	return nil
}

// Keytab makes a principal with random keys, or gives it new ones, and returns the path of their keytab.
func (k *KDC) Keytab(ctx context.Context, principal string, options ...string) (string, error) {
	file := k.path(strings.ReplaceAll(principal, "/", "_") + ".keytab")
	return file, errors.Join(
		k.Admin(ctx, "addprinc "+strings.Join(append(options, "-randkey", principal), " ")),
		k.Admin(ctx, "ktadd -k "+file+" "+principal))
}

// Kinit fills a credential cache with a ticket of a principal and returns its path.
func (k *KDC) Kinit(ctx context.Context, principal, keytab string) (string, error) {
	file := k.path("cache-" + strings.ReplaceAll(principal, "/", "_"))
	return file, run(k.command(ctx, k.kinit, "-c", "FILE:"+file, "-k", "-t", keytab, principal))
}

// Stop ends the KDC, whose realm stays.
func (k *KDC) Stop() error { return k.process.kill() }

// Restart starts a KDC that was stopped, and waits until it answers.
func (k *KDC) Restart(ctx context.Context) (err error) {
	if k.process, err = startProcess(k.command(context.WithoutCancel(ctx), k.server, "-n", "-r", Realm)); err != nil {
		return err
	}
	for {
		c, err := net.Dial("tcp", k.addr)
		if err == nil {
			return c.Close()
		}
		if !k.process.running() {
			log, _ := os.ReadFile(k.path("kdc.log"))
			return fmt.Errorf("the KDC ended: %w\n%s", k.process.err, log)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("the KDC does not answer: %w", err)
		}
	}
}

// Close ends the KDC and removes its realm.
func (k *KDC) Close() error {
	var err error
	if k.process != nil {
		err = k.process.kill()
	}
	return errors.Join(err, os.RemoveAll(k.dir))
}
