package provider

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	classes   = "org.apache.kafka.common.config.provider."
	file      = classes + "FileConfigProvider"
	directory = classes + "DirectoryConfigProvider"
	env       = classes + "EnvVarConfigProvider"
)

func kafkas(class string) Factory { return Kafka[class] }

func resolve(t *testing.T, props map[string]string) map[string]string {
	t.Helper()
	got, missing, faults := Resolve(props, kafkas)
	require.Empty(t, faults)
	require.Empty(t, missing)
	return got
}

func TestValuesComeFromFilesDirectoriesAndTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets.properties")
	require.NoError(t, os.WriteFile(secrets, []byte("a.b = one\nc=two \\\n  lines\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), []byte("three\n"), 0o600))
	t.Setenv("QUILL_TEST_VALUE", "four")
	got := resolve(t, map[string]string{
		"config.providers":                 "f, d ,e",
		"config.providers.f.class":         file,
		"config.providers.d.class":         directory,
		"config.providers.e.class":         env,
		"x":                                "<${f:" + secrets + ":a.b}|${f:" + secrets + ":c}>",
		"y":                                "${d:" + dir + ":key}",
		"z":                                "${e:QUILL_TEST_VALUE} ${e::QUILL_TEST_VALUE}",
		"config.providers.f.param.unknown": "is ignored",
	})
	require.Equal(t, "<one|two lines>", got["x"])
	require.Equal(t, "three\n", got["y"], "as it is, as in Java")
	require.Equal(t, "four four", got["z"])
}

// S15: nothing is read unless config.providers names the provider, and what a provider returns is no variable.
func TestNothingIsReadThatWasNotAskedFor(t *testing.T) {
	t.Setenv("QUILL_TEST_VALUE", "${env:HOME}")
	for _, props := range []map[string]string{
		{"x": "${env:QUILL_TEST_VALUE}"},
		{"x": "${env:QUILL_TEST_VALUE}", "config.providers.env.class": env},
		{"x": "${env:QUILL_TEST_VALUE}", "config.providers": "env"},
		{"x": "${env:QUILL_TEST_VALUE}", "config.providers": "other", "config.providers.other.class": env},
		{"x": "${env:QUILL_TEST_VALUE}", "config.providers": "", "config.providers.env.class": env},
	} {
		require.Equal(t, props, resolve(t, props))
	}
	got := resolve(t, map[string]string{"x": "${env:QUILL_TEST_VALUE}", "config.providers": "env", "config.providers.env.class": env})
	require.Equal(t, "${env:HOME}", got["x"])
}

func TestMissingKeyStaysAsItIsAndIsNamed(t *testing.T) {
	got, missing, faults := Resolve(map[string]string{"x": "a${env:QUILL_TEST_NONE}b", "config.providers": "env", "config.providers.env.class": env}, kafkas)
	require.Empty(t, faults)
	require.Equal(t, "a${env:QUILL_TEST_NONE}b", got["x"])
	require.Equal(t, []string{"x=${env:QUILL_TEST_NONE}"}, missing)
}

func TestTextThatIsNoVariableStays(t *testing.T) {
	for _, text := range []string{"", "$", "${", "${}", "${env}", "$env:X", "{env:X}", "${unknown:a:b}", "100%"} {
		got := resolve(t, map[string]string{"x": text, "config.providers": "env", "config.providers.env.class": env})
		require.Equal(t, text, got["x"])
	}
}

func TestOnlyAllowedPathsAndVariablesAreRead(t *testing.T) {
	dir := t.TempDir()
	inside, outside := filepath.Join(dir, "in"), filepath.Join(dir, "inner")
	for _, d := range []string{inside, outside} {
		require.NoError(t, os.Mkdir(d, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(d, "f"), []byte("k=v"), 0o600))
	}
	for class, suffix := range map[string]string{file: "/f:k}", directory: ":f}"} {
		props := map[string]string{"config.providers": "p", "config.providers.p.class": class, "config.providers.p.param.allowed.paths": inside}
		props["x"] = "${p:" + inside + suffix
		require.NotEqual(t, props["x"], resolve(t, props)["x"])
		for _, path := range []string{outside, inside + "/../inner", dir, "in"} {
			props["x"] = "${p:" + path + suffix
			_, _, faults := Resolve(props, kafkas)
			require.Len(t, faults, 1, path)
			require.Equal(t, "x", faults[0].Name)
			require.Contains(t, faults[0].Reason, "is in none of allowed.paths")
		}
		for _, bad := range []string{"relative", filepath.Join(dir, "none")} {
			props["config.providers.p.param.allowed.paths"] = bad
			_, _, faults := Resolve(props, kafkas)
			require.Len(t, faults, 1)
			require.Equal(t, "config.providers.p.class", faults[0].Name)
		}
	}
	t.Setenv("QUILL_TEST_VALUE", "v")
	for pattern, want := range map[string]string{"QUILL_.*": "v", "QUILL": "${e:QUILL_TEST_VALUE}", ".*VALUE": "v", "A|QUILL_TEST_VALUE": "v", "A|QUILL": "${e:QUILL_TEST_VALUE}"} {
		got, _, faults := Resolve(map[string]string{"x": "${e:QUILL_TEST_VALUE}", "config.providers": "e", "config.providers.e.class": env, "config.providers.e.param.allowlist.pattern": pattern}, kafkas)
		require.Empty(t, faults)
		require.Equal(t, want, got["x"], "the whole name has to match %s", pattern)
	}
}

func TestFaultsAreReportedTogether(t *testing.T) {
	_, _, faults := Resolve(map[string]string{
		"config.providers": "a,b,f,d,e", "config.providers.a.class": "com.example.Vault", "config.providers.f.class": file, "config.providers.d.class": directory,
		"config.providers.e.class": env, "config.providers.b.class": env, "config.providers.b.param.allowlist.pattern": "(",
		"x": "${f:/none:k}", "y": "${d:/none:k}", "z": "${e:path:k}",
	}, kafkas)
	var names []string
	for _, f := range faults {
		names = append(names, f.Name)
	}
	require.Equal(t, []string{"config.providers.a.class", "config.providers.b.class", "x", "y", "z"}, names)
	require.Contains(t, faults[0].Fix, "provider.Register")
}

// failing is a provider of the user's.
type failing struct{}

func (failing) Get(string, []string) (map[string]string, error) {
	return nil, errors.New("vault is sealed")
}

func TestProviderOfTheUsersFails(t *testing.T) {
	_, _, faults := Resolve(map[string]string{"config.providers": "v", "config.providers.v.class": "Vault", "x": "${v:a:b}"}, func(string) Factory {
		return func(map[string]string) (Provider, error) { return failing{}, nil }
	})
	require.Len(t, faults, 1)
	require.Contains(t, faults[0].Reason, "vault is sealed")
}

func FuzzResolve(f *testing.F) {
	f.Add("${env:A}${env:b:c}")
	f.Fuzz(func(t *testing.T, text string) {
		props := map[string]string{"x": text, "config.providers": "none"}
		got, _, _ := Resolve(props, kafkas)
		require.Equal(t, text, got["x"])
	})
}
