package kafkaharness

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quill-kafka/quill/integration/java"
)

// KafkaVersion is the version of Kafka's tools and clients, and of its brokers unless QUILL_KAFKA names another.
const KafkaVersion = "4.3.1"

// Tools are the paths everything is started from.
type Tools struct {
	Java          string // the java command
	Jars          string // directory of Kafka's jars
	BrokerVersion string // of Kafka
	BrokerJars    string // Jars, or those of the brokers' version
	Classes       string // directory of the compiled helper
	Archive       string // the brokers' classes as the JVM loads them fastest; empty while it is made
}

// MissingError says which command a test needs and the machine lacks.
type MissingError struct {
	Command string
	Purpose string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("no %s command, needed to %s", e.Command, e.Purpose)
}

// Require returns the tools for brokers of BrokerVersion. If a command is missing it skips the test, or fails it
// where CI=true; any other fault fails it.
func Require(t testing.TB) Tools {
	t.Helper()
	return RequireVersion(t, BrokerVersion())
}

// RequireVersion is Require for brokers of any version from 3.3 on.
func RequireVersion(t testing.TB, version string) Tools {
	t.Helper()
	tools, err := Install(t.Context(), version)
	RequireFound(t, err)
	return tools
}

// BrokerVersion is the version of the brokers of tests that choose none.
func BrokerVersion() string { return cmp.Or(os.Getenv("QUILL_KAFKA"), KafkaVersion) }

// RequireFound does nothing if err is nil. It skips the test over a MissingError, unless CI=true, and fails it over others.
func RequireFound(t testing.TB, err error) {
	t.Helper()
	var missing *MissingError
	switch {
	case err == nil:
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// Install makes sure that helper and jars, for brokers of a version, are in the cache and says where. Only the first call
// on a machine needs the network, and half a minute; it may be called concurrently, by several processes too.
func Install(ctx context.Context, version string) (Tools, error) {
	tools := Tools{BrokerVersion: version}
	var err error
	if tools.Java, err = exec.LookPath("java"); err != nil {
		return tools, &MissingError{"java", "run Kafka " + KafkaVersion}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return tools, err
	}
	jarsOf := func(version string) (string, error) {
		jars := filepath.Join(cache, "quill-integration", "kafka-"+version, "jars")
		return jars, once(jars, func(dir string) error { return fetchJars(ctx, version, dir) })
	}
	if tools.Jars, err = jarsOf(KafkaVersion); err != nil {
		return tools, err
	}
	if tools.BrokerJars, err = jarsOf(version); err != nil {
		return tools, err
	}
	key, err := sourcesKey(tools.Java)
	if err != nil {
		return tools, err
	}
	tools.Classes = filepath.Join(filepath.Dir(tools.Jars), "helper-"+key)
	if err := once(tools.Classes, func(dir string) error { return compileHelper(ctx, tools.Jars, dir) }); err != nil {
		return tools, err
	}
	archive := filepath.Join(filepath.Dir(tools.BrokerJars), "archive-"+key)
	if err := once(archive, func(dir string) error { return archiveClasses(ctx, tools, filepath.Join(dir, archiveFile)) }); err != nil {
		return tools, err
	}
	tools.Archive = filepath.Join(archive, archiveFile)
	return tools, nil
}

// archiveFile is the file that archiveClasses writes.
const archiveFile = "broker.jsa"

// archiveClasses starts a broker and stops it, so that its JVM leaves an archive of the classes it loaded: with it a
// start costs half the processor time.
func archiveClasses(ctx context.Context, tools Tools, file string) error {
	c, err := Start(ctx, tools, Options{Flags: []string{"-XX:ArchiveClassesAtExit=" + file}})
	if err != nil {
		return err
	}
	err = errors.Join(c.Node(1).Stop(), c.Close())
	if _, statErr := os.Stat(file); err == nil && statErr != nil {
		err = fmt.Errorf("the broker left no archive of its classes: %w", statErr)
	}
	return err
}

// once fills a directory that does not exist yet. It is filled under another name and then renamed, so that
// a directory of the name is always complete.
func once(dir string, fill func(dir string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	if err := fill(part); err != nil {
		return err
	}
	err = os.Rename(part, dir)
	if _, statErr := os.Stat(dir); statErr == nil {
		return nil // ours, or that of another process that was faster
	}
	return err
}

// pom names the broker, without the tools that it asks for: there are versions of Kafka whose tools were never published.
// Ours are of KafkaVersion.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>quill</groupId><artifactId>integration</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>VERSION</version>
      <exclusions>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>kafka-tools-api</artifactId></exclusion>
      </exclusions>
    </dependency>
TOOLSLOGGING  </dependencies>
</project>
`

const pomTools = `    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>VERSION</version></dependency>
`

const pomLogging = `    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.24.3</version></dependency>
`

// pomLogging3 is for brokers before 4.0.
const pomLogging3 = `    <dependency><groupId>ch.qos.reload4j</groupId><artifactId>reload4j</artifactId><version>1.2.25</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>
`

// before4 reports whether a version logs with log4j 1.
func before4(version string) bool { return strings.HasPrefix(version, "3.") }

// fetchJars has Maven copy Kafka and all it depends on.
func fetchJars(ctx context.Context, version, dir string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return &MissingError{"mvn", "fetch Kafka " + version + " once"}
	}
	tools, logging := "", pomLogging
	if version == KafkaVersion {
		tools = pomTools
	}
	if before4(version) {
		logging = pomLogging3
	}
	content := strings.NewReplacer("TOOLS", tools, "LOGGING", logging).Replace(pom)
	content = strings.ReplaceAll(content, "VERSION", version)
	pomFile := filepath.Join(dir, "pom.xml")
	if err := os.WriteFile(pomFile, []byte(content), 0o644); err != nil {
		return err
	}
	return run(exec.CommandContext(ctx, mvn, "-q", "-B", "-f", pomFile, "dependency:copy-dependencies",
		"-DoutputDirectory="+dir, "-DincludeScope=runtime"))
}

// compileHelper writes the embedded sources and compiles them.
func compileHelper(ctx context.Context, jars, dir string) error {
	javac, err := exec.LookPath("javac")
	if err != nil {
		return &MissingError{"javac", "compile the Java helper"}
	}
	if err := os.CopyFS(dir, java.Sources); err != nil {
		return err
	}
	files, err := fs.Glob(os.DirFS(dir), "*.java")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, javac, append([]string{"-nowarn", "-d", dir, "-cp", classPath(jars)}, files...)...)
	cmd.Dir = dir
	return run(cmd)
}

// sourcesKey names a build of the helper: a sum over its sources and the Java it was compiled with.
func sourcesKey(javaCommand string) (string, error) {
	resolved, err := filepath.EvalSymlinks(javaCommand)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write([]byte(resolved))
	err = fs.WalkDir(java.Sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		source, err := java.Sources.ReadFile(path)
		h.Write([]byte(path))
		h.Write(source)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:6]), err
}

// classPath is every jar of a directory.
func classPath(jars string, dirs ...string) string {
	return strings.Join(append(dirs, filepath.Join(jars, "*")), string(os.PathListSeparator))
}

// run runs a command to its end; its output is part of the error.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}
