package null

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Handler lets programs in other languages steer the cluster. Every call answers the Stats as JSON:
//
//	GET  /stats
//	GET  /ca (the authority's certificate as PEM; empty without TLS)
//	POST /reset
//	POST /latency?d=200ms
//	POST /verify?on=true
func (c *Cluster) Handler() http.Handler {
	answer := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c.Stats()) // whoever hung up does not want it
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w) })
	mux.HandleFunc("GET /ca", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(c.CA())
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		c.Reset()
		answer(w)
	})
	mux.HandleFunc("POST /latency", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("d"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.SetLatency(d)
		answer(w)
	})
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, r *http.Request) {
		on, err := strconv.ParseBool(r.FormValue("on"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.SetVerify(on)
		answer(w)
	})
	return mux
}
