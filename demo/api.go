package demo

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
)

// api is the second upstream: a JSON API of orders. It lets every caller delete; only
// the policy of its route does not.
type api struct {
	mu  sync.Mutex // guards all
	all []order
}

type order struct {
	ID    string `json:"id"`
	Item  string `json:"item"`
	Count int    `json:"count"`
	State string `json:"state"`
}

func newAPI() *api {
	return &api{all: []order{
		{"1001", "drawbridge chain, 20 m", 2, "shipped"},
		{"1002", "portcullis, oak and iron", 1, "in the forge"},
		{"1003", "lantern oil, barrel", 12, "waiting"},
		{"1004", "signal horn", 3, "waiting"},
	}}
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", a.list)
	mux.HandleFunc("GET /orders/{id}", a.show)
	mux.HandleFunc("DELETE /orders/{id}", a.remove)
	return mux
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	all := slices.Clone(a.all)
	a.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"asked_by": callerOf(r).UserName, "orders": all})
}

func (a *api) show(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, item := range a.all {
		if item.ID == r.PathValue("id") {
			writeJSON(w, http.StatusOK, item)
			return
		}
	}
	writeJSON(w, http.StatusNotFound, map[string]string{"error": "there is no order with this number"})
}

func (a *api) remove(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.all)
	a.all = slices.DeleteFunc(a.all, func(item order) bool { return item.ID == r.PathValue("id") })
	if len(a.all) == before {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "there is no order with this number"})
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
	_ = out.Encode(v) // fails only if the client is gone
}
