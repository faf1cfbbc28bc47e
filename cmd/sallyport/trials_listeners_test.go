package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// TestReliability_Listeners replaces listeners under load, by reloads. No connection to an address that stays is refused, and no
// request and no push fails, over connections that are open and over new ones; once a reload is done, each listener is where the
// file says.
func TestReliability_Listeners(t *testing.T) {
	r := newRelistener(t)
	server := r.stage.server
	text := string(readFile(t, filepath.Join(r.dir, "sallyport.yaml")))
	const files, authority = "tls: {cert_file: tls.crt, key_file: tls.key}", "tls: {acme: {accept_terms: true, directory_url: 'https://127.0.0.1:1/dir'}}"
	addrs := []string{freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)}
	l := &upgradeLoad{trial: &trial{T: t, Rand: rand.New(rand.NewPCG(0, 0))}, stop: make(chan struct{})}
	l.begin(r.world, server, r.browser, r.world.pusher(server), r.alice)
	trials(t, 8, func(c *trial) {
		c.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		source := pick(c, []string{files, authority}) // either replaces the servers of public and scim, on their sockets
		changed := replaced(files, source)(replaced(formerAddrs, fmt.Sprintf("public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: %s, http: %s, grace: 2s", addrs[0], addrs[1]))(text))
		before := r.listeners.find("public")
		writeFile(c.T, r.dir, "sallyport.yaml", []byte(changed))
		if err := r.admin.Reload(c.Context(), causeSignal); err != nil {
			c.Fatal(err)
		}
		if status := plain(c.T, addrs[0], "/healthz"); status != http.StatusOK {
			c.Errorf("ops responds %d", status)
		}
		if status := plain(c.T, addrs[1], "/"); status != http.StatusPermanentRedirect {
			c.Errorf("http responds %d", status)
		}
		for _, addr := range addrs[2:] {
			demandRefused(c.T, addr)
		}
		if r.listeners.find("public") != before {
			c.count("other servers on the same sockets")
		}
		time.Sleep(c.within(50 * time.Millisecond))
	})
	close(l.stop)
	l.all.Wait()
	t.Logf("%d requests, the longest took %v", l.sent, l.longest.Round(time.Millisecond))
	if server.addrs["public"] != r.addr("public") || server.addrs["scim"] != r.addr("scim") {
		t.Error("an address that was to stay is another one")
	}
}
