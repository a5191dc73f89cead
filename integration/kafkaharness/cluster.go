package kafkaharness

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Options say what cluster to start. The zero value is one node with Kafka's usual rights and wrongs.
type Options struct {
	Nodes      int               // if zero, 1
	Heap       string            // of each node, as -Xmx takes it; if empty, 384m
	Properties map[string]string // further server properties of every node; they win
	Flags      []string          // further flags of each node's JVM
	Listeners  []Listener        // further listeners of every node
}

// Listener is a listener for clients beside that of Node.Addr.
type Listener struct {
	Name       string            // in capitals
	Protocol   string            // SASL_SSL and the like
	Host       string            // a name of 127.0.0.1, as it is advertised; if empty, localhost
	Properties map[string]string // what else goes into server.properties, without listener.name.NAME.
}

// Cluster is a set of running nodes and the helper beside them.
type Cluster struct {
	options Options
	dir     string
	nodes   []*Node
	helper  *Helper
}

// startTimeout bounds a start: on a busy machine three nodes take half a minute.
const startTimeout = 3 * time.Minute

// Start starts a cluster and waits until every node serves clients. On an error nothing is left running.
// The cluster lives until Close, also when ctx ends.
func Start(ctx context.Context, tools Tools, options Options) (*Cluster, error) {
	options.Nodes = max(options.Nodes, 1)
	if options.Heap == "" {
		options.Heap = "384m"
	}
	dir, err := os.MkdirTemp("", "quill-kafka-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{options: options, dir: dir}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the cluster did not start in time"))
	defer cancel()
	if err := c.start(ctx, tools); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, tools Tools) error {
	each := 2 + len(c.options.Listeners)
	ports, err := freePorts(each * c.options.Nodes)
	if err != nil {
		return err
	}
	for i := range c.options.Nodes {
		c.nodes = append(c.nodes, &Node{
			ID: int32(i + 1), Addr: address(ports[each*i]), controllerPort: ports[each*i+1], further: ports[each*i+2 : each*(i+1)],
			dir: filepath.Join(c.dir, "node-"+strconv.Itoa(i+1)), tools: tools, heap: c.options.Heap, flags: c.options.Flags,
		})
	}
	var files []string
	for _, n := range c.nodes {
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return err
		}
		if _, err := writeLogConfig(n.dir, "log4j2.properties", "INFO", "SYSTEM_OUT"); err != nil {
			return err
		}
		if err := writeLogConfig3(n.dir); err != nil {
			return err
		}
		file := filepath.Join(n.dir, "server.properties")
		if err := writeProperties(file, c.serverProperties(n)); err != nil {
			return err
		}
		files = append(files, file)
	}
	if c.helper, err = StartHelper(tools, c.dir); err != nil {
		return err
	}
	if err := c.format(ctx, tools, files); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	_, err = c.helper.Call(ctx, "connect", c.bootstrapList())
	return err
}

// format gives the nodes of these server.properties their empty logs. That is up to the brokers' own version: the
// helper may be of another.
func (c *Cluster) format(ctx context.Context, tools Tools, files []string) error {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f // the base64 form must not begin with a dash
	id := base64.RawURLEncoding.EncodeToString(b[:])
	if tools.BrokerJars == tools.Jars {
		_, err := c.helper.Call(ctx, "format", append([]string{id}, files...)...)
		return err
	}
	for _, file := range files {
		err := run(exec.CommandContext(ctx, tools.Java, "-cp", classPath(tools.BrokerJars), "kafka.tools.StorageTool", "format", "-t", id, "-c", file))
		if err != nil {
			return err
		}
	}
	return nil
}

// Close ends every process by its id and removes the cluster's directory.
func (c *Cluster) Close() error {
	var errs []error
	if c.helper != nil {
		errs = append(errs, c.helper.Close())
	}
	for _, n := range c.nodes {
		if n.Running() {
			errs = append(errs, n.Kill())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// ReportFailure makes a failing test show the end of each node's log, and keep the logs among its artifacts.
func (c *Cluster) ReportFailure(t testing.TB) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, n := range c.nodes {
			t.Logf("node %d at %s, last lines of its log:\n%s", n.ID, n.Addr, n.LogTail(5))
			if log, err := os.ReadFile(n.LogFile()); err == nil {
				os.WriteFile(filepath.Join(t.ArtifactDir(), fmt.Sprintf("node-%d.log", n.ID)), log, 0o644)
			}
		}
	})
}

// Nodes returns the nodes; Nodes()[i] has the id i+1.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node returns a node by its id.
func (c *Cluster) Node(id int32) *Node { return c.nodes[id-1] }

// Helper returns the Java helper.
func (c *Cluster) Helper() *Helper { return c.helper }

// Bootstrap returns the addresses of all nodes.
func (c *Cluster) Bootstrap() []string {
	var addresses []string
	for _, n := range c.nodes {
		addresses = append(addresses, n.Addr)
	}
	return addresses
}

// ListenerAddr returns the advertised address of one of a node's further listeners.
func (c *Cluster) ListenerAddr(n *Node, name string) string {
	for i, l := range c.options.Listeners {
		if l.Name == name {
			return l.addr(n.further[i])
		}
	}
	return ""
}

// addr returns the advertised address of the listener at a port.
func (l Listener) addr(port int) string {
	return net.JoinHostPort(cmp.Or(l.Host, "localhost"), strconv.Itoa(port))
}
