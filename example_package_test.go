package quill_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/quilltest"
)

// A whole program: a producer, a record sent with a callback and one waited for, and an orderly end. The
// in-memory cluster stands in the place of a real one, whose addresses would be in BootstrapServers.
func Example() {
	cluster, err := quilltest.NewCluster(quilltest.Options{AutoCreate: true})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()

	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.String)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()

	// Send and go on; the callback reports what became of the record.
	producer.SendFunc(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "tea"}, func(m quill.RecordMetadata, err error) {
		fmt.Println("callback:", m.Topic, m.Offset, err)
	})

	// Or send, and wait for the outcome where it is needed.
	m, err := producer.Send(ctx, quill.Record[string, string]{Topic: "orders", Key: "ada", Value: "milk"}).Wait(ctx)
	fmt.Println("waited:", m.Topic, m.Offset, err)

	// Close delivers what is left. Its context is a fresh one with a limit, not one that a signal has ended.
	closing, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := producer.Close(closing); err != nil {
		log.Print(err)
	}
	// Output:
	// callback: orders 0 <nil>
	// waited: orders 1 <nil>
}

// New checks the configuration and connects in the background. PartitionsFor shows before the first Send
// whether the cluster can be reached and has the topic.
func ExampleNew() {
	cluster, err := quilltest.NewCluster(quilltest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	cluster.MustCreateTopic("orders", 6, quilltest.TopicConfig{})

	producer, err := quill.New(quill.Config{
		BootstrapServers: cluster.BootstrapServers(), // "broker-1:9092", "broker-2:9092"
		ClientID:         "billing",
		Compression:      quill.CompressionLZ4,
		Linger:           10 * time.Millisecond,
		Logger:           slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, quill.String, quill.Bytes)
	if err != nil {
		log.Fatal(err) // a *ConfigError lists all faults
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := producer.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	partitions, err := producer.PartitionsFor(ctx, "orders")
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(len(partitions), "partitions")
	// Output: 6 partitions
}

// Probes for Kubernetes: a restart cures nothing but a fatal error, and a producer that reaches no broker should get no requests.
func ExampleProducer_Health() {
	cluster, err := quilltest.NewCluster(quilltest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	producer, err := quill.New(quill.Config{BootstrapServers: cluster.BootstrapServers()}, quill.String, quill.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close(context.Background())

	probes := http.NewServeMux()
	probes.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		if err := producer.Health(); errors.Is(err, quill.ErrFatal) {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	probes.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second) // less than the probe's own timeoutSeconds
		defer cancel()
		if err := producer.Ping(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})

	for _, path := range []string{"/live", "/ready"} {
		answer := httptest.NewRecorder()
		probes.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(path, answer.Code)
	}
	// Output:
	// /live 200
	// /ready 200
}
