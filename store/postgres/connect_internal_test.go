package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestUnverified_FindsHostsWithoutProof(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://u@db.example.com/x":                                      "db.example.com", // pgx tries TLS, and goes on without it
		"postgres://u@db.example.com/x?sslmode=disable":                      "db.example.com",
		"postgres://u@db.example.com/x?sslmode=require":                      "db.example.com",
		"postgres://u@db.example.com/x?sslmode=verify-ca":                    "db.example.com",
		"postgres://u@db.example.com/x?sslmode=verify-full":                  "",
		"postgres://u@127.0.0.1,db.example.com/x?sslmode=prefer":             "db.example.com",
		"postgres://u@127.0.0.1/x":                                           "",
		"postgres://u@[::1]/x":                                               "",
		"postgres://u@localhost/x":                                           "",
		"host=/run/postgresql user=u":                                        "",
		"host=localhost.example.com user=u":                                  "localhost.example.com",
		"postgres://u@a.example.com,b.example.com/x?sslmode=verify-full":     "",
		"postgres://u@10.0.0.1/x?sslmode=disable&application_name=127.0.0.1": "10.0.0.1",
	} {
		c, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := unverified(c); got != want {
			t.Errorf("of %s, %q is unverified, want %q", url, got, want)
		}
	}
}

func TestRotate_KeepsEntriesOfAHostTogether(t *testing.T) {
	c, err := pgx.ParseConfig("postgres://u@a,b,c/x?sslmode=prefer")
	if err != nil {
		t.Fatal(err)
	}
	hosts := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	for n, want := range []string{"aabbcc", "bbccaa", "ccaabb", "aabbcc"} {
		got := ""
		for _, h := range rotate(hosts, n) {
			got += h.Host
		}
		if got != want {
			t.Errorf("after %d failures the order is %s, want %s", n, got, want)
		}
	}
}

func TestURLError_ShowsNoSecret(t *testing.T) {
	for _, url := range []string{
		"postgres://u:hunter2@[", "postgres://u:hunter2@h:hunter2/x", "postgres://u:hunter2@h/x?sslmode=hunter2", "postgres://u@h/x?password=hunter2&sslmode=hunter2",
		"host=h password=hunter2 sslmode=hunter2", "hunter2", "postgres://u:hunter2@h/x?sslrootcert=/missing/hunter2",
	} {
		_, err := pgx.ParseConfig(url)
		if err == nil {
			t.Errorf("%s has no fault", url)
			continue
		}
		if err := urlError(url, err); strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error has the password: %v", err)
		}
	}
	_, err := pgx.ParseConfig("postgres://u:hunter2@h/x?sslmode=verify-full&sslrootcert=/missing/ca.crt")
	if err := urlError("postgres://u:hunter2@h/x?sslmode=verify-full&sslrootcert=/missing/ca.crt", err); errors.Is(err, errURL) || !strings.Contains(err.Error(), "/missing/ca.crt") {
		t.Errorf("a missing file gives %v", err)
	}
}
