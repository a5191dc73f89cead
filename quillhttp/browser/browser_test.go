package browser

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/protocol"
	"github.com/quill-kafka/quill/quillhttp"
	"github.com/quill-kafka/quill/quilltest"
)

// scene is a producer's situation, which the page is to show; check.mjs has what is demanded of each.
type scene struct {
	partitions int
	change     func(cfg *quill.Config)
	begin      func(t *testing.T, c *quilltest.Cluster, p *producer)
	load       bool
}

type producer = quill.Producer[string, string]

var scenes = map[string]scene{
	"idle": {partitions: 24, begin: func(t *testing.T, _ *quilltest.Cluster, p *producer) {
		for i := range int32(24) {
			if _, err := p.SendSync(t.Context(), record("orders", i)); err != nil {
				t.Fatal(err)
			}
		}
	}},
	"load": {partitions: 240, load: true},
	"dead": {partitions: 240, load: true, begin: func(t *testing.T, c *quilltest.Cluster, p *producer) {
		for i := range int32(3) {
			if _, err := p.SendSync(t.Context(), record("orders", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.CutOffNode(2); err != nil {
			t.Fatal(err)
		}
	}},
	"transaction": {partitions: 24, load: true, change: func(cfg *quill.Config) { cfg.TransactionalID = "checkout-1" },
		begin: func(t *testing.T, _ *quilltest.Cluster, p *producer) {
			if err := p.InitTransactions(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := p.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
		}},
	"many": {partitions: 10_000, load: true},
}

func record(topic string, partition int32) quill.Record[string, string] {
	return quill.Record[string, string]{Topic: topic, Partition: quill.Partition(partition), Value: "s3cr3t, which no page may show"}
}

// TestThePageShowsEachScene in real Chromium, without an error of the script, without what axe-core calls serious or critical.
// It runs in real time, with half a minute for each thing that is to appear.
func TestThePageShowsEachScene(t *testing.T) {
	need(t)
	for name, s := range scenes {
		t.Run(name, func(t *testing.T) { s.run(t, name) })
	}
}

// need skips the test if something is missing, or fails it in CI.
func need(t *testing.T) {
	for _, tool := range []string{"node", chromium()} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool+" (Debian: apt-get install chromium nodejs npm)")
		}
	}
	if _, err := os.Stat("node_modules/puppeteer-core"); err != nil {
		missing(t, "node_modules (npm ci --ignore-scripts)")
	}
}

func missing(t *testing.T, what string) {
	if os.Getenv("CI") == "true" {
		t.Fatal("needs " + what)
	}
	t.Skip("needs " + what)
}

func chromium() string {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	return "/usr/bin/chromium"
}

func (s scene) run(t *testing.T, name string) {
	c := quilltest.Start(t, quilltest.Options{Nodes: 3, Pipes: true})
	c.MustCreateTopic("orders", s.partitions, quilltest.TopicConfig{})
	c.MustCreateTopic("payments", 12, quilltest.TopicConfig{})
	cfg := quill.Config{BootstrapServers: c.BootstrapServers(), DialContext: c.DialContext, ClientID: "checkout", Linger: 20 * time.Millisecond,
		RequestTimeout: 2 * time.Second, SocketConnectionSetupTimeout: time.Second, SocketConnectionSetupTimeoutMax: time.Second, MaxBlock: time.Second}
	if s.change != nil {
		s.change(&cfg)
	}
	p, err := quill.New(cfg, quill.String, quill.String)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan bool)
	defer func() { // first no more records, then no more producer; what is on its way in the dead scene is given up
		stop()
		<-ended
		_ = p.Close(ctx)
	}()
	if s.begin != nil {
		s.begin(t, c, p)
	}
	c.Inject(quilltest.Fault{APIs: []protocol.APIKey{protocol.Produce}, AnswerDelay: 12 * time.Millisecond, Times: -1})
	if _, err := p.PartitionsFor(ctx, "payments"); err != nil {
		t.Fatal(err)
	}
	go s.send(ctx, p, ended)

	mux := http.NewServeMux()
	mux.Handle("/debug/quill/", quillhttp.Handler(p))
	server := httptest.NewServer(mux)
	defer server.Close()
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute) // a browser that hangs is no reason to wait
	defer cancel()
	check := exec.CommandContext(limited, "node", "check.mjs", server.URL+"/debug/quill/", name, os.Getenv("QUILL_PICTURES"))
	check.Env = append(os.Environ(), "CHROMIUM="+chromium())
	check.WaitDelay = 5 * time.Second
	out, err := check.CombinedOutput()
	if t.Log(string(out)); err != nil {
		t.Fatal(err)
	}
}

// send sends some thousand records a second until ctx ends, more of them to the first partitions.
func (s scene) send(ctx context.Context, p *producer, ended chan<- bool) {
	defer close(ended)
	for i := 0; s.load && ctx.Err() == nil; i++ {
		topic, n := "orders", s.partitions
		if i%8 == 0 {
			topic, n = "payments", 12
		}
		p.TrySend(record(topic, int32(float64(n)*rand.Float64()*rand.Float64())))
		if i%50 == 0 {
			time.Sleep(time.Duration(4+rand.IntN(12)) * time.Millisecond)
		}
	}
}
