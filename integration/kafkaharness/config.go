package kafkaharness

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WithAuthorizer returns server properties that let everybody do everything, but for topics with rules of their own.
func WithAuthorizer() map[string]string {
	return map[string]string{
		"authorizer.class.name":          "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found": "true",
	}
}

// serverProperties returns a node's settings: three nodes keep every record twice before they acknowledge it, fail over
// in two seconds, and keep Kafka's internal topics small. Nothing creates topics but the tests.
func (c *Cluster) serverProperties(n *Node) map[string]string {
	replicas := fmt.Sprint(min(len(c.nodes), 3))
	minISR := "1"
	if len(c.nodes) >= 3 {
		minISR = "2"
	}
	var voters []string
	for _, other := range c.nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", other.ID, address(other.controllerPort)))
	}
	p := map[string]string{
		"process.roles":                            "broker,controller",
		"node.id":                                  fmt.Sprint(n.ID),
		"controller.quorum.voters":                 strings.Join(voters, ","),
		"controller.listener.names":                "CONTROLLER",
		"listeners":                                "PLAINTEXT://" + n.Addr + ",CONTROLLER://" + address(n.controllerPort),
		"advertised.listeners":                     "PLAINTEXT://" + n.Addr,
		"inter.broker.listener.name":               "PLAINTEXT",
		"listener.security.protocol.map":           "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                                 n.DataDir(),
		"num.partitions":                           "1",
		"auto.create.topics.enable":                "false",
		"default.replication.factor":               replicas,
		"min.insync.replicas":                      minISR,
		"broker.session.timeout.ms":                "2000",
		"broker.heartbeat.interval.ms":             "400",
		"replica.lag.time.max.ms":                  "4000",
		"offsets.topic.replication.factor":         replicas,
		"offsets.topic.num.partitions":             "5",
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            minISR,
		"transaction.state.log.num.partitions":     "5",
		"group.initial.rebalance.delay.ms":         "0",
		"num.network.threads":                      "2",
		"num.io.threads":                           "4",
		"background.threads":                       "2",
		"log.cleaner.dedupe.buffer.size":           "2097152",
		"log.segment.delete.delay.ms":              "1000",
	}
	for i, l := range c.options.Listeners {
		p["listeners"] += "," + l.Name + "://" + address(n.further[i])
		p["advertised.listeners"] += "," + l.Name + "://" + l.addr(n.further[i])
		p["listener.security.protocol.map"] += "," + l.Name + ":" + l.Protocol
		for name, value := range l.Properties {
			p["listener.name."+strings.ToLower(l.Name)+"."+name] = value
		}
	}
	maps.Copy(p, c.options.Properties)
	return p
}

// writeProperties writes a Java properties file with its keys in order.
func writeProperties(file string, properties map[string]string) error {
	var b bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&b, "%s=%s\n", key, strings.ReplaceAll(properties[key], `\`, `\\`))
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// writeLogConfig3 writes a configuration for brokers before 4.0, which log with log4j 1, to standard output.
func writeLogConfig3(dir string) error {
	return writeProperties(filepath.Join(dir, "log4j.properties"), map[string]string{
		"log4j.rootLogger":                            "INFO, OUT",
		"log4j.appender.OUT":                          "org.apache.log4j.ConsoleAppender",
		"log4j.appender.OUT.layout":                   "org.apache.log4j.PatternLayout",
		"log4j.appender.OUT.layout.ConversionPattern": "[%d] %p %m (%c)%n",
	})
}

// writeLogConfig writes a log4j configuration that logs to standard output or standard error.
func writeLogConfig(dir, name, level, target string) (string, error) {
	file := filepath.Join(dir, name)
	return file, writeProperties(file, map[string]string{
		"rootLogger.level":               level,
		"rootLogger.appenderRef.out.ref": "OUT",
		"appender.out.type":              "Console",
		"appender.out.name":              "OUT",
		"appender.out.target":            target,
		"appender.out.layout.type":       "PatternLayout",
		"appender.out.layout.pattern":    "[%d] %p %m (%c)%n",
	})
}
