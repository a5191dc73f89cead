package awsmsk

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/quill-kafka/quill/internal/planted"
	"github.com/quill-kafka/quill/network/sasl"
)

// testdata/sign.py made the vectors without the SDK.
func TestSignaturesAreThoseOfTheAlgorithm(t *testing.T) {
	data, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var vectors []struct {
		Key, Secret, Token, Host, Region, Date string
		Members                                map[string]string
	}
	require.NoError(t, json.Unmarshal(data, &vectors))
	require.Len(t, vectors, 3)
	for _, v := range vectors {
		now, err := time.Parse("20060102T150405Z", v.Date)
		require.NoError(t, err)
		payload, err := sign(t.Context(), aws.Credentials{AccessKeyID: v.Key, SecretAccessKey: v.Secret, SessionToken: v.Token}, v.Host, v.Region, now.In(time.FixedZone("", 3600)))
		require.NoError(t, err)
		var members map[string]string
		require.NoError(t, json.Unmarshal(payload, &members))
		require.Equal(t, v.Members, members, v.Host)
	}
}

func TestTheRegionIsInTheNodesName(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"b-1.demo.abc123.c2.kafka.us-east-1.amazonaws.com":                 "us-east-1",
		"B-1.demo.abc123.c2.kafka.US-EAST-1.amazonaws.com.":                "us-east-1",
		"b-1-public.demo.abc123.c2.kafka.ap-southeast-7.amazonaws.com":     "ap-southeast-7",
		"boot-abc123.c3.kafka-serverless.eu-central-1.amazonaws.com":       "eu-central-1",
		"b-1.demo.abc123.c2.kafka.cn-northwest-1.amazonaws.com.cn":         "cn-northwest-1",
		"b-1.demo.abc123.c2.kafka.us-gov-west-1.amazonaws.com":             "us-gov-west-1",
		"b-1.demo.abc123.c2.kafka.us-iso-east-1.c2s.ic.gov":                "us-iso-east-1",
		"b-1.demo.abc123.c2.kafka.us-isob-east-1.sc2s.sgov.gov":            "us-isob-east-1",
		"b-1.demo.abc123.c2.kafka.eu-isoe-west-1.cloud.adc-e.uk":           "eu-isoe-west-1",
		"b-1.demo.abc123.c2.kafka.eusc-de-east-1.amazonaws.eu":             "eusc-de-east-1",
		"b-1.demo.abc123.c2.kafka.eu-west-1.api.aws":                       "eu-west-1",
		"b-1.demo.abc123.c2.kafka.cn-north-1.api.amazonwebservices.com.cn": "cn-north-1",
		"b-1.us-west-2.abc123.c2.kafka.us-east-1.amazonaws.com":            "us-east-1",
		"kafka.example.com": "",
		"localhost":         "",
		"10.0.0.1":          "",
		"fe80::1":           "",
		"vpce-1.kafka-broker.us-east-1.example.com": "",
		"": "",
	} {
		require.Equal(t, want, regionOf(host), host)
	}
}

func TestTheMechanismSignsForTheNode(t *testing.T) {
	t.Setenv("AWS_REGION", "us-west-2")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	m := &Mechanism{Credentials: credentials.NewStaticCredentialsProvider("AKID", planted.Password, planted.Token)}
	w := planted.NewWatch(t, nil)
	for _, c := range []struct{ region, host, want string }{
		{"", "b-1.demo.abc123.c2.kafka.eu-west-1.amazonaws.com", "eu-west-1"},
		{"eu-north-1", "b-1.demo.abc123.c2.kafka.eu-west-1.amazonaws.com", "eu-north-1"},
		{"", "broker.example.com", "us-west-2"},
	} {
		m.Region = c.region
		s, initial, err := m.Start(t.Context(), sasl.Peer{Host: c.host})
		require.NoError(t, err)
		require.Contains(t, string(initial), "/"+c.want+"/kafka-cluster/aws4_request")
		require.NotContains(t, string(initial), planted.Password)
		_, done, err := s.Next(t.Context(), []byte(`{"version":"2020_10_22","request-id":"x"}`))
		require.NoError(t, err)
		require.True(t, done)
		w.Check(s)
		for _, wrong := range []string{"", "{}", "x", `{"version":"2021"}`} {
			_, _, err := s.Next(t.Context(), []byte(wrong))
			require.Error(t, err, wrong)
			w.Check(err)
		}
	}
	require.Equal(t, "AWS_MSK_IAM", m.Name())
	w.Check(m)
}

func TestProfilesAreReadFromTheSDKsFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "credentials")
	require.NoError(t, os.WriteFile(file, []byte("[other]\naws_access_key_id=AKIDOTHER\naws_secret_access_key=s3cr3t\n"), 0o600))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	m, err := FromSettings(settings(map[string]string{"awsProfileName": "other"}))
	require.NoError(t, err)
	_, initial, err := m.Start(t.Context(), sasl.Peer{Host: "b-1.demo.abc123.c2.kafka.eu-west-1.amazonaws.com"})
	require.NoError(t, err)
	require.Contains(t, string(initial), "AKIDOTHER/")
}

func settings(options map[string]string, props ...string) sasl.Settings {
	s := sasl.Settings{Mechanism: "AWS_MSK_IAM", Module: amazon + "IAMLoginModule", Options: map[string]sasl.Secret{}, Logger: slog.New(slog.DiscardHandler)}
	for name, value := range options {
		s.Options[name] = sasl.NewSecret(value)
	}
	s.Property = func(name string) string {
		for i := 0; i < len(props); i += 2 {
			if props[i] == name {
				return props[i+1]
			}
		}
		return ""
	}
	return s
}

func TestJavasPropertiesAreUnderstood(t *testing.T) {
	t.Parallel()
	require.NotNil(t, sasl.Registered("AWS_MSK_IAM"))
	m, err := FromSettings(settings(map[string]string{"awsRoleArn": "arn:aws:iam::1:role/x", "awsRoleSessionName": "s", "awsRoleExternalId": "e", "awsStsRegion": "eu-west-1", "awsMaxRetries": "3"},
		"sasl.client.callback.handler.class", amazon+"IAMClientCallbackHandler"))
	require.NoError(t, err)
	require.Equal(t, role{"arn:aws:iam::1:role/x", "s", "e", "eu-west-1"}, m.(*Mechanism).chain.role)
	for _, c := range []struct {
		s   sasl.Settings
		err string
	}{
		{settings(map[string]string{"awsProfile": "x"}), `sasl.jaas.config: the login module has no option "awsProfile"; the options are awsProfileName, awsRoleArn, awsRoleSessionName, awsRoleExternalId, awsStsRegion, awsDebugCreds, awsMaxRetries, awsMaxBackOffTimeMs`},
		{settings(map[string]string{"awsRoleSessionName": "x"}), "sasl.jaas.config: options of a role are given without the role; add awsRoleArn"},
		{settings(nil, "sasl.client.callback.handler.class", "com.example.X"), `sasl.client.callback.handler.class: "com.example.X" is a Java class that this library has no counterpart of; remove it, and set Config.SASL to an awsmsk.Mechanism with Credentials that do the same`},
	} {
		_, err := FromSettings(c.s)
		require.EqualError(t, err, c.err)
	}
	other := settings(nil)
	other.Module = "org.apache.kafka.common.security.plain.PlainLoginModule"
	_, err = FromSettings(other)
	require.ErrorContains(t, err, "is not the login module of AWS_MSK_IAM")
}
