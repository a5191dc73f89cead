package awsmsk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quill-kafka/quill/network/sasl"
)

func init() { sasl.Register("AWS_MSK_IAM", FromSettings) }

const amazon = "software.amazon.msk.auth.iam."

// options are those of IAMLoginModule. What Java does for its retries and for debugging, the SDK does here by its own settings.
var options = []string{"awsProfileName", "awsRoleArn", "awsRoleSessionName", "awsRoleExternalId", "awsStsRegion", "awsDebugCreds", "awsMaxRetries", "awsMaxBackOffTimeMs"}

// FromSettings makes a Mechanism of what Kafka's properties and the options of IAMLoginModule say. Its error is a
// [*sasl.SettingError].
func FromSettings(s sasl.Settings) (sasl.Mechanism, error) {
	if s.Module != "" && s.Module != amazon+"IAMLoginModule" {
		return nil, fault("sasl.jaas.config", "name "+amazon+"IAMLoginModule", "%q is not the login module of AWS_MSK_IAM", s.Module)
	}
	for option := range s.Options {
		if !slices.Contains(options, option) {
			return nil, fault("sasl.jaas.config", "the options are "+strings.Join(options, ", "), "the login module has no option %q", option)
		}
	}
	for _, property := range []string{"sasl.client.callback.handler.class", "sasl.login.callback.handler.class", "sasl.login.class"} {
		if class := strings.TrimSpace(s.Property(property)); class != "" && class != amazon+"IAMClientCallbackHandler" {
			return nil, fault(property, "remove it, and set Config.SASL to an awsmsk.Mechanism with Credentials that do the same", "%q is a Java class that this library has no counterpart of", class)
		}
	}
	if s.Option("awsRoleArn") == "" && s.Option("awsRoleSessionName")+s.Option("awsRoleExternalId") != "" {
		return nil, fault("sasl.jaas.config", "add awsRoleArn", "options of a role are given without the role")
	}
	return &Mechanism{chain: chain{
		profile: s.Option("awsProfileName"),
		role:    role{s.Option("awsRoleArn"), s.Option("awsRoleSessionName"), s.Option("awsRoleExternalId"), s.Option("awsStsRegion")},
	}}, nil
}

func fault(property, fix, format string, args ...any) error {
	return &sasl.SettingError{Property: property, Reason: fmt.Sprintf(format, args...), Fix: fix}
}
