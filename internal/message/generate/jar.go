package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// cachedJar returns the path of the kafka-clients jar in the user's cache
// directory. If it is not there yet, Maven fetches it.
func cachedJar() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "quill")
	jar := filepath.Join(dir, "kafka-clients-"+kafkaVersion+".jar")
	if _, err := os.Stat(jar); err == nil {
		return jar, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	cmd := exec.Command("mvn", "--batch-mode", "--quiet", "dependency:copy",
		"-Dartifact=org.apache.kafka:kafka-clients:"+kafkaVersion,
		"-DoutputDirectory="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("no jar given and Maven could not fetch it: %w\n%s", err, out)
	}
	return jar, nil
}

// readJar returns the message definitions of the jar by name. It refuses
// another release than kafkaVersion, so that the committed files have one source.
func readJar(jar string) (map[string][]byte, error) {
	z, err := zip.OpenReader(jar)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", jar, err)
	}
	defer z.Close()
	version, err := readEntry(&z.Reader, "kafka/kafka-version.properties")
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(version, []byte("version="+kafkaVersion)) {
		return nil, fmt.Errorf("%s is not kafka-clients %s", jar, kafkaVersion)
	}
	defs := make(map[string][]byte)
	for _, f := range z.File {
		dir, base := path.Split(f.Name)
		name, isJSON := strings.CutSuffix(base, ".json")
		if dir != "common/message/" || !isJSON {
			continue
		}
		if defs[name], err = readEntry(&z.Reader, f.Name); err != nil {
			return nil, err
		}
	}
	return defs, nil
}

func readEntry(z *zip.Reader, name string) ([]byte, error) {
	f, err := z.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
