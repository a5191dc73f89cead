package kerberos

import (
	"log/slog"
	"testing"

	"github.com/quill-kafka/quill/network/sasl"
	"github.com/stretchr/testify/require"
)

// settings are those of a properties file.
func settings(service, module string, options map[string]string) sasl.Settings {
	s := sasl.Settings{Mechanism: "GSSAPI", Module: module, Options: map[string]sasl.Secret{}, Logger: slog.New(slog.DiscardHandler),
		Property: func(name string) string { return map[string]string{propService: service}[name] }}
	for name, value := range options {
		s.Options[name] = sasl.NewSecret(value)
	}
	return s
}

const sunModule = "com.sun.security.auth.module.Krb5LoginModule"

func TestPropertiesMakeWhatJavaWouldUse(t *testing.T) {
	for name, c := range map[string]struct {
		settings sasl.Settings
		want     source
		service  string
	}{
		"a keytab":            {settings("kafka", sunModule, map[string]string{"useKeyTab": "true", "storeKey": "true", "keyTab": "/k", "principal": "p@R"}), source{kind: fromKeytab, principal: "p@R", file: "/k"}, "kafka"},
		"a keytab by URL":     {settings("kafka", sunModule, map[string]string{"useKeyTab": "TRUE", "keyTab": "file:/k", "principal": "p"}), source{kind: fromKeytab, principal: "p", file: "/k"}, "kafka"},
		"a keytab, of IBM":    {settings("kafka", "com.ibm.security.auth.module.Krb5LoginModule", map[string]string{"useKeyTab": "yes", "keyTab": "/k", "principal": "p"}), source{kind: fromKeytab, principal: "p", file: "/k"}, "kafka"},
		"keytab before cache": {settings("kafka", sunModule, map[string]string{"useKeyTab": "true", "useTicketCache": "true", "keyTab": "/k", "principal": "p"}), source{kind: fromKeytab, principal: "p", file: "/k"}, "kafka"},
		"a cache":             {settings("broker", sunModule, map[string]string{"useTicketCache": "true"}), source{kind: fromCache}, "broker"},
		"a cache with a name": {settings("kafka", sunModule, map[string]string{"useTicketCache": "true", "ticketCache": "/c"}), source{kind: fromCache, file: "/c"}, "kafka"},
		"no login module":     {settings("kafka", "", nil), source{kind: fromCache}, "kafka"},
		"the service in JAAS": {settings("", sunModule, map[string]string{"useTicketCache": "true", "serviceName": "kafka2"}), source{kind: fromCache}, "kafka2"},
		"the service in both": {settings("kafka2", sunModule, map[string]string{"useTicketCache": "true", "serviceName": "kafka2"}), source{kind: fromCache}, "kafka2"},
	} {
		t.Run(name, func(t *testing.T) {
			build := sasl.Registered("GSSAPI")
			require.NotNil(t, build)
			m, err := build(c.settings)
			require.NoError(t, err)
			require.Equal(t, c.want, m.(*Mechanism).source)
			require.Equal(t, c.service, m.(*Mechanism).options.ServiceName)
		})
	}
}

func TestPropertiesThatAreWrongSayWhich(t *testing.T) {
	for name, c := range map[string]struct {
		settings sasl.Settings
		says     string
	}{
		"no service":        {settings("", sunModule, map[string]string{"useTicketCache": "true"}), "sasl.kerberos.service.name: is required by GSSAPI"},
		"two services":      {settings("a", sunModule, map[string]string{"serviceName": "b"}), `sasl.kerberos.service.name: is "a", and serviceName in sasl.jaas.config is another`},
		"a principal":       {settings("kafka/b@R", sunModule, nil), "sasl.kerberos.service.name: \"kafka/b@R\" is no service's name"},
		"another module":    {settings("kafka", "org.apache.kafka.common.security.plain.PlainLoginModule", nil), "sasl.jaas.config: names another login module than Krb5LoginModule"},
		"no keytab":         {settings("kafka", sunModule, map[string]string{"useKeyTab": "true", "principal": "p"}), "sasl.jaas.config: has useKeyTab=true and no keyTab"},
		"no principal":      {settings("kafka", sunModule, map[string]string{"useKeyTab": "true", "keyTab": "/k"}), "sasl.jaas.config: has useKeyTab=true and no principal"},
		"a password, asked": {settings("kafka", sunModule, map[string]string{"principal": "p"}), "nobody can be asked for a password"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := build(c.settings)
			require.ErrorContains(t, err, c.says)
			require.Nil(t, m)
			require.ErrorAs(t, err, new(*sasl.SettingError))
		})
	}
}
