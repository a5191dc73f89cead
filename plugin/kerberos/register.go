package kerberos

import (
	"fmt"
	"strings"

	"github.com/quill-kafka/quill/network/sasl"
)

func init() { sasl.Register("GSSAPI", build) }

// The options of Java's Krb5LoginModule that say where credentials come from. The others (storeKey, refreshKrb5Config …) are
// about the JVM.
const (
	optPrincipal = "principal"
	optKeytab    = "keyTab"
	optCache     = "ticketCache"
	optUseKeytab = "useKeyTab"
	optUseCache  = "useTicketCache"
	optService   = "serviceName"

	propJAAS    = "sasl.jaas.config"
	propService = "sasl.kerberos.service.name"
)

// build makes a Mechanism of Kafka's properties, as Java's client understands them: the keytab if useKeyTab is true, else the
// credential cache.
func build(s sasl.Settings) (sasl.Mechanism, error) {
	o := Options{ServiceName: s.Property(propService)}
	switch inJAAS := s.Option(optService); {
	case o.ServiceName == "" && inJAAS == "":
		return nil, &sasl.SettingError{Property: propService, Reason: "is required by GSSAPI", Fix: "set it to the first part of the brokers' principals, usually kafka"}
	case o.ServiceName == "":
		o.ServiceName = inJAAS
	case inJAAS != "" && inJAAS != o.ServiceName:
		return nil, &sasl.SettingError{Property: propService, Reason: fmt.Sprintf("is %q, and serviceName in %s is another", o.ServiceName, propJAAS), Fix: "leave one of them out"}
	}
	if strings.ContainsAny(o.ServiceName, "/@ ") {
		return nil, &sasl.SettingError{Property: propService, Reason: fmt.Sprintf("%q is no service's name", o.ServiceName), Fix: "write the part of the principal before the slash"}
	}
	if s.Module != "" && !strings.HasSuffix(s.Module, ".Krb5LoginModule") {
		return nil, &sasl.SettingError{Property: propJAAS, Reason: "names another login module than Krb5LoginModule", Fix: "write com.sun.security.auth.module.Krb5LoginModule"}
	}
	switch {
	case isTrue(s.Option(optUseKeytab)):
		return fromJAASKeytab(s, o)
	case isTrue(s.Option(optUseCache)) || s.Module == "":
		return CredentialCache(s.Option(optCache), o), nil
	}
	return nil, &sasl.SettingError{Property: propJAAS, Reason: "has neither useKeyTab=true nor useTicketCache=true, and nobody can be asked for a password", Fix: `write useKeyTab=true keyTab="FILE" principal="NAME@REALM"; for a password set Config.SASL to kerberos.Password`}
}

func fromJAASKeytab(s sasl.Settings, o Options) (sasl.Mechanism, error) {
	for _, name := range []string{optKeytab, optPrincipal} {
		if s.Option(name) == "" {
			return nil, &sasl.SettingError{Property: propJAAS, Reason: "has useKeyTab=true and no " + name, Fix: fmt.Sprintf("add %s=\"…\"", name)}
		}
	}
	if isTrue(s.Option(optUseCache)) {
		s.Logger.Info("the keytab is used, and the credential cache is not", "principal", s.Option(optPrincipal))
	}
	return Keytab(s.Option(optPrincipal), strings.TrimPrefix(s.Option(optKeytab), "file:"), o), nil
}

// isTrue reads a switch of Java's login modules.
func isTrue(text string) bool {
	return strings.EqualFold(text, "true") || strings.EqualFold(text, "yes")
}
