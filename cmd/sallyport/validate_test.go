package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// faultyFile is a configuration with which no server can start.
type faultyFile struct {
	name    string
	old     string // part of the usual configuration …
	new     string // … and what stands there instead
	prepare func(w *world)
	key     string // at which both verbs find the fault; "" for a file that is not YAML
}

// faultyFiles has one file for each way in which a server can fail to start for a reason that lies in the file, or in
// what the file names.
func faultyFiles() []faultyFile {
	write := func(name, content string) func(*world) {
		return func(w *world) { writeFile(w.t, w.dir, name, []byte(content)) }
	}
	folder := func(name string) func(*world) {
		return func(w *world) { w.must(os.MkdirAll(filepath.Join(w.dir, name), 0o700)) }
	}
	key := func(name string) func(*world) {
		return func(w *world) { _, key := w.ca.issue(w.t, appHost); writeFile(w.t, w.dir, name, key) }
	}
	const (
		listen   = "listen: {public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: 127.0.0.1:0}"
		tls      = "tls: {cert_file: tls.crt, key_file: tls.key}"
		store    = "store: {bolt: {path: data/sallyport.db}}"
		control  = "control: {socket: data/control.sock}"
		provider = "  ca_file: ca.pem\n"
		policies = "policies:\n"
		app      = "    owner: owner@example.com\n"
	)
	upstreamTLS := func(files string) string { return "    upstream_tls: {" + files + "}\n" }
	oauth := func(ca string) string {
		return "scim: {oauth: {issuer: 'https://as.example.com', audiences: [a], client_ids: [c], ca_file: " + ca + "}}\n"
	}
	const toTLS = "    upstream: https://127.0.0.1:1\n    policy: [members]\n    owner: owner@example.com\n"
	return []faultyFile{
		{"no_yaml", "public_url: ", "public_url: [", nil, ""},
		{"unknown_key", policies, "polices: []\n" + policies, nil, "polices"},

		{"certificate_missing", tls, "tls: {cert_file: no.crt, key_file: tls.key}", nil, "tls.cert_file"},
		{"certificate_empty", tls, tls, write("tls.crt", ""), "tls.cert_file"},
		{"certificate_is_a_folder", tls, "tls: {cert_file: secrets, key_file: tls.key}", nil, "tls.cert_file"},
		{"certificate_is_text", tls, tls, write("tls.crt", "a certificate\n"), "tls.cert_file"},
		{"certificate_is_a_key", tls, "tls: {cert_file: tls.key, key_file: tls.key}", nil, "tls.cert_file"},
		{"certificate_is_garbage_in_PEM", tls, tls, write("tls.crt", "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"), "tls.cert_file"},
		{"key_empty", tls, tls, write("tls.key", ""), "tls.key_file"},
		{"key_of_another_certificate", tls, tls, key("tls.key"), "tls.key_file"},
		{"key_is_a_certificate", tls, "tls: {cert_file: tls.crt, key_file: tls.crt}", nil, "tls.key_file"},

		{"acme_ca_missing", tls, "tls: {acme: {accept_terms: true, ca_file: no.pem}}", nil, "tls.acme.ca_file"},
		{"acme_ca_is_text", tls, "tls: {acme: {accept_terms: true, ca_file: secrets/oidc}}", nil, "tls.acme.ca_file"},
		{"acme_key_is_no_base64", tls, "tls: {acme: {accept_terms: true, eab: {key_id: k, key_file: secrets/oidc}}}", nil, "tls.acme.eab.key_file"},

		{"provider_ca_missing", provider, "  ca_file: no.pem\n", nil, "oidc.ca_file"},
		{"provider_ca_empty", provider, provider, write("ca.pem", ""), "oidc.ca_file"},
		{"provider_ca_is_a_key", provider, "  ca_file: tls.key\n", nil, "oidc.ca_file"},
		{"provider_ca_is_garbage_in_PEM", provider, provider, write("ca.pem", "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"), "oidc.ca_file"},
		{"provider_ca_is_a_folder", provider, "  ca_file: secrets\n", nil, "oidc.ca_file"},
		{"client_secret_empty", provider, provider, write("secrets/oidc", "\n"), "oidc.client_secret_file"},
		{"client_secret_of_two_lines", provider, provider, write("secrets/oidc", "a\nb\n"), "oidc.client_secret_file"},
		{"client_secret_is_a_folder", "secrets/oidc", "secrets", nil, "oidc.client_secret_file"},
		{"issuer_ca_is_text", provider, provider + "  bearer_issuers: [{issuer: 'https://b.example', audiences: [a], ca_file: secrets/oidc}]\n", nil, "oidc.bearer_issuers[0].ca_file"},
		{"oauth_ca_missing", policies, oauth("no.pem") + policies, nil, "scim.oauth.ca_file"},
		{"oauth_ca_is_text", policies, oauth("secrets/oidc") + policies, nil, "scim.oauth.ca_file"},
		{"webhook_secret_missing", policies, "webhooks: [{url: https://a.example, secret_file: no}]\n" + policies, nil, "webhooks[0].secret_file"},
		{"webhook_secret_of_another_form", policies, "webhooks: [{url: https://a.example, secret_file: secrets/oidc}]\n" + policies, nil, "webhooks[0].secret_file"},
		{"webhook_authority_missing", policies, "webhooks: [{url: https://a.example, secret_file: secrets/oidc, ca_file: no}]\n" + policies, write("secrets/oidc", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "webhooks[0].ca_file"},
		{"front_secret_missing", policies, "forward_auth: {secret_file: no}\n" + policies, nil, "forward_auth.secret_file"},
		{"front_secret_short", policies, "forward_auth: {secret_file: secrets/oidc}\n" + policies, nil, "forward_auth.secret_file"},

		{"upstream_ca_missing", app, toTLS + upstreamTLS("ca_file: no.pem"), nil, "routes[0].upstream_tls.ca_file"},
		{"upstream_ca_empty", app, toTLS + upstreamTLS("ca_file: empty.pem"), write("empty.pem", ""), "routes[0].upstream_tls.ca_file"},
		{"upstream_ca_is_text", app, toTLS + upstreamTLS("ca_file: secrets/oidc"), nil, "routes[0].upstream_tls.ca_file"},
		{"upstream_certificate_missing", app, toTLS + upstreamTLS("cert_file: no.crt, key_file: tls.key"), nil, "routes[0].upstream_tls.cert_file"},
		{"upstream_key_missing", app, toTLS + upstreamTLS("cert_file: tls.crt, key_file: no.key"), nil, "routes[0].upstream_tls.key_file"},
		{"upstream_key_of_another", app, toTLS + upstreamTLS("cert_file: tls.crt, key_file: other.key"), key("other.key"), "routes[0].upstream_tls.cert_file"},

		{"listeners_alike", listen, "listen: {public: '127.0.0.1:21001', scim: '127.0.0.1:21001', ops: 127.0.0.1:0}", nil, "listen.scim"},
		{"listener_for_every_address", listen, "listen: {public: '127.0.0.1:21001', scim: '0.0.0.0:21001', ops: 127.0.0.1:0}", nil, "listen.scim"},
		{"listener_without_host", listen, "listen: {public: '127.0.0.1:21001', scim: ':21001', ops: 127.0.0.1:0}", nil, "listen.scim"},
		{"listener_of_IPv6", listen, "listen: {public: '127.0.0.1:21001', scim: '[::]:21001', ops: 127.0.0.1:0}", nil, "listen.scim"},
		{"listener_for_IPv6_second", listen, "listen: {public: '[::]:21001', scim: 127.0.0.1:0, ops: '[::1]:21001'}", nil, "listen.ops"},
		{"listener_in_other_spelling", listen, "listen: {public: '[::1]:21001', scim: '[0:0:0:0:0:0:0:1]:21001', ops: 127.0.0.1:0}", nil, "listen.scim"},
		{"listener_of_IPv4_in_IPv6", listen, "listen: {public: '127.0.0.1:21001', scim: '[::ffff:127.0.0.1]:21001', ops: 127.0.0.1:0}", nil, "listen.scim"},
		{"listener_port_with_zeros", listen, "listen: {public: '127.0.0.1:21001', scim: 'LOCALHOST:021001', ops: 127.0.0.1:0}", nil, "listen.scim"},
		{"listener_port_by_name", listen, "listen: {public: '127.0.0.1:8080', scim: '127.0.0.1:http-alt', ops: 127.0.0.1:0}", nil, "listen.scim"},
		{"port_too_high", listen, "listen: {public: '127.0.0.1:65536', scim: 127.0.0.1:0, ops: 127.0.0.1:0}", nil, "listen.public"},
		{"port_negative", listen, "listen: {public: '127.0.0.1:-1', scim: 127.0.0.1:0, ops: 127.0.0.1:0}", nil, "listen.public"},
		{"port_unknown", listen, "listen: {public: '127.0.0.1:no-such-service', scim: 127.0.0.1:0, ops: 127.0.0.1:0}", nil, "listen.public"},
		{"port_missing", listen, "listen: {public: 127.0.0.1, scim: 127.0.0.1:0, ops: 127.0.0.1:0}", nil, "listen.public"},
		{"address_of_another_machine", listen, "listen: {public: '192.0.2.1:0', scim: 127.0.0.1:0, ops: 127.0.0.1:0}", nil, "listen.public"},
		{"address_unreadable", listen, "listen: {public: '127.0.0.256:0', scim: 127.0.0.1:0, ops: 127.0.0.1:0}", nil, "listen.public"},

		{"store_is_a_folder", store, store, folder("data/sallyport.db"), "store.bolt.path"},
		{"store_is_text", store, store, write("data/sallyport.db", strings.Repeat("text\n", 10000)), "store.bolt.path"},
		{"store_in_a_file", store, "store: {bolt: {path: tls.crt/sallyport.db}}", nil, "store.bolt.path"},
		{"store_below_a_file", store, "store: {bolt: {path: tls.crt/a/b/sallyport.db}}", nil, "store.bolt.path"},
		{"store_is_the_certificate", store, "store: {bolt: {path: tls.crt}}", nil, "store.bolt.path"},
		{"store_is_a_device", store, "store: {bolt: {path: /dev/null}}", nil, "store.bolt.path"},
		{"record_is_a_folder", policies, "audit: {file: secrets}\n" + policies, nil, "audit.file"},
		{"record_in_a_file", policies, "audit: {file: tls.crt/audit.jsonl}\n" + policies, nil, "audit.file"},
		{"record_is_text", policies, "audit: {file: notes.txt}\n" + policies, write("notes.txt", "notes\n"), "audit.file"},
		{"record_is_the_store", policies, "audit: {file: ./data/../data/sallyport.db}\n" + policies, nil, "store.bolt.path"},
		{"record_is_the_secret", policies, "audit: {file: secrets/oidc}\n" + policies, nil, "audit.file"},
		{"socket_is_a_file", control, control, write("data/control.sock", "text"), "control.socket"},
		{"socket_is_a_folder", control, "control: {socket: secrets}", nil, "control.socket"},
		{"socket_is_a_link_to_a_file", control, control, func(w *world) {
			folder("data")(w)
			w.must(os.Symlink(filepath.Join(w.dir, "tls.crt"), filepath.Join(w.dir, "data/control.sock")))
		}, "control.socket"},
		{"socket_in_a_file", control, "control: {socket: tls.crt/control.sock}", nil, "control.socket"},
		{"socket_too_long", control, "control: {socket: /tmp/" + strings.Repeat("long", 30) + "}", nil, "control.socket"},
		{"socket_is_the_store", control, "control: {socket: data/sallyport.db}", nil, "store.bolt.path"},
	}
}

// TestValidate_SaysWhatServeRefuses runs both verbs with every faulty file. Both fail, and name the same place in the
// file; validate changes nothing.
func TestValidate_SaysWhatServeRefuses(t *testing.T) {
	usual := newWorld(t)
	text, err := os.ReadFile(filepath.Join(usual.dir, "sallyport.yaml"))
	usual.must(err)
	for _, c := range append([]faultyFile{{name: "none"}}, faultyFiles()...) {
		t.Run(c.name, func(t *testing.T) {
			w := *usual
			w.t, w.dir = t, filepath.Join(t.TempDir(), "d")
			w.must(os.CopyFS(w.dir, os.DirFS(usual.dir)))
			if !strings.Contains(string(text), c.old) {
				t.Fatalf("the usual file does not contain %q", c.old)
			}
			replaced := strings.Replace(string(text), c.old, c.new, 1)
			if strings.HasPrefix(c.new, "    upstream: ") { // in place of the usual upstream of the first route
				replaced = regexp.MustCompile(`(?m)^    upstream: http://.*\n    policy: .*\n(    upstream: https)`).ReplaceAllString(replaced, "$1")
			}
			writeFile(t, w.dir, "sallyport.yaml", []byte(replaced))
			if c.prepare != nil {
				c.prepare(&w)
			}
			before := w.listing()
			validated, code := w.run("validate")
			if !slices.Equal(before, w.listing()) {
				t.Errorf("validate changes the folder from %q to %q", before, w.listing())
			}
			if c.name == "none" {
				if code != exitOK {
					t.Errorf("validate ends with %d: %s", code, validated)
				}
				return
			}
			served, serveCode := w.run("serve", "--init")
			place := regexp.MustCompile(`sallyport\.yaml:\d+:\d+: ` + regexp.QuoteMeta(c.key))
			if code != exitError || !place.MatchString(validated) {
				t.Errorf("validate ends with %d: %s", code, validated)
			}
			if serveCode != exitError || validated != served {
				t.Errorf("serve ends with %d: %s", serveCode, served)
			}
			if strings.Contains(served, "the client secret") {
				t.Errorf("it tells the secret: %s", served)
			}
		})
	}
}

// run runs a verb in this process, and returns what it writes to standard error. A server that starts is stopped.
func (w *world) run(args ...string) (errs string, code int) {
	w.t.Helper()
	ctx, stop := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer stop()
	var out, text bytes.Buffer
	code = run(ctx, append(args, "-c", filepath.Join(w.dir, "sallyport.yaml")), nil, &out, &text)
	return text.String(), code
}

// listing returns the files of the folder with their sizes and modes.
func (w *world) listing() (files []string) {
	w.t.Helper()
	w.must(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		files = append(files, fmt.Sprint(path, info.Mode(), info.Size(), info.ModTime()))
		return err
	}))
	return files
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestValidate_AcceptsARunningServersFiles: the file of a server that runs has no fault, although its ports, its store and
// its control socket are in use.
func TestValidate_AcceptsARunningServersFiles(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "sallyport.yaml")
	text, err := os.ReadFile(path)
	w.must(err)
	w.must(os.WriteFile(path, bytes.Replace(text, []byte("ops: 127.0.0.1:0"), []byte("ops: "+freeAddr(t)), 1), 0o600))
	w.start("--init")
	if errs, code := w.run("validate"); code != exitOK || errs != "" {
		t.Errorf("validate ends with %d: %s", code, errs)
	}
}
