package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quill-kafka/quill"
	"github.com/quill-kafka/quill/examples/internal/demo"
	"github.com/stretchr/testify/require"
)

func TestQuickstartDeliversAll(t *testing.T) {
	var out strings.Builder
	require.NoError(t, demo.Run(t.Context(), "", &out, run))
	require.Contains(t, out.String(), "delivered 100000 of 100000 records")
	require.Contains(t, out.String(), "latency")
}

func TestQuickstartWithoutAClusterEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := quill.Config{BootstrapServers: []string{"localhost:9092"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("connection refused")
		}}
		began := time.Now()
		err := run(t.Context(), cfg, t.Output())
		require.ErrorContains(t, err, "connection refused")
		require.Equal(t, 10*time.Second, time.Since(began))
		t.Log(err)
	})
}
