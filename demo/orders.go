package demo

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
)

// orders is the second upstream: a JSON API. That only some may delete is the
// policy's doing; the API itself would let anybody.
type orders struct {
	mu  sync.Mutex // guards all
	all []order
}

type order struct {
	ID    string `json:"id"`
	Item  string `json:"item"`
	Count int    `json:"count"`
	State string `json:"state"`
}

func newOrders() *orders {
	return &orders{all: []order{
		{"1001", "drawbridge chain, 20 m", 2, "shipped"},
		{"1002", "portcullis, oak and iron", 1, "in the forge"},
		{"1003", "lantern oil, barrel", 12, "waiting"},
		{"1004", "signal horn", 3, "waiting"},
	}}
}

func (o *orders) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", o.list)
	mux.HandleFunc("GET /orders/{id}", o.one)
	mux.HandleFunc("DELETE /orders/{id}", o.remove)
	return mux
}

func (o *orders) list(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	all := slices.Clone(o.all)
	o.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"asked_by": callerOf(r).UserName, "orders": all})
}

func (o *orders) one(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.all {
		if one.ID == r.PathValue("id") {
			writeJSON(w, http.StatusOK, one)
			return
		}
	}
	writeJSON(w, http.StatusNotFound, map[string]string{"error": "there is no such order"})
}

func (o *orders) remove(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.all)
	o.all = slices.DeleteFunc(o.all, func(one order) bool { return one.ID == r.PathValue("id") })
	if len(o.all) == before {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "there is no such order"})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(v) // the only failure is a caller that went away
}
