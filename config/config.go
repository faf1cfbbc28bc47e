// Package config reads the configuration file: one YAML document, composed of
// the rooms' own settings, strictly.
//
// A file is taken whole or not at all, and all that is wrong with it is said at
// once, each with file:line:column and what to write instead.
package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"sallyport/audit"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy"
	"sallyport/scim"
	"sallyport/session"
)

// File is a configuration file.
type File struct {
	proxy.Settings `yaml:",inline"`

	Listen  Listen           `yaml:"listen" doc:"the addresses to listen on"`
	TLS     TLS              `yaml:"tls" doc:"how the public and scim listeners speak TLS"`
	Store   Store            `yaml:"store" doc:"where users, groups and sessions are kept"`
	Control Control          `yaml:"control" doc:"how operators' verbs reach the running server"`
	OIDC    oidc.Settings    `yaml:"oidc" doc:"the identity provider that signs people in"`
	Session session.Settings `yaml:"session" doc:"how long people stay signed in"`
	SCIM    scim.Settings    `yaml:"scim" doc:"what the identity provider pushes"`
	Audit   audit.Settings   `yaml:"audit" doc:"the record of who was let in, turned away, cut and changed"`
	Log     Log              `yaml:"log" doc:"what is written to standard error"`
}

// Listen is where the server listens.
type Listen struct {
	Public string `yaml:"public" doc:"applications and login"`
	SCIM   string `yaml:"scim" doc:"SCIM alone; empty only with scim.on_public"`
	Ops    string `yaml:"ops" doc:"/metrics, /healthz and /readyz, without authentication: never public"`
	HTTP   string `yaml:"http" doc:"sends browsers from http to https, and answers HTTP-01 of ACME; nothing else is served there. None when absent"`

	ProxyProtocol []string `yaml:"proxy_protocol" doc:"listeners (public, scim, http) on which trusted_proxies say by the PROXY protocol, v1 or v2, who is calling, and must"`
}

// Store is the engine of the store: exactly one.
type Store struct {
	Bolt     *Bolt     `yaml:"bolt" doc:"one file on the local disk"`
	Postgres *Postgres `yaml:"postgres" doc:"not in this version yet"`
}

// Bolt is the engine of a single machine.
type Bolt struct {
	Path string `yaml:"path" kind:"file" doc:"the file; its folder is made if need be"`
}

// Postgres is the engine of several machines.
type Postgres struct {
	URLFile string `yaml:"url_file" kind:"file" doc:"a file that holds the connection URL"`
}

// Control is the operators' socket.
type Control struct {
	Socket string `yaml:"socket" kind:"file" doc:"a Unix socket, mode 0600"`
}

// Log is the server's log.
type Log struct {
	Level  string `yaml:"level" doc:"debug, info, warn or error"`
	Format string `yaml:"format" doc:"json or text"`
}

func defaults() *File {
	return &File{
		Settings: proxy.Defaults(), OIDC: oidc.Defaults(), Session: session.Defaults(), SCIM: scim.Defaults(), Audit: audit.Defaults(),
		Control: Control{"data/control.sock"}, Log: Log{"info", "json"},
		Listen: Listen{Ops: "127.0.0.1:9090"},
	}
}

// Proxy is the part of the file that says what is behind the door and who may pass.
func (f *File) Proxy() proxy.Settings { return f.Settings }

// maxSize bounds a configuration file, in bytes.
const maxSize = 1 << 20

// Load reads the file at path. Every error is complete: a Faults where the
// content is wrong.
func Load(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if info.Size() > maxSize {
		return nil, fmt.Errorf("reading the configuration: %s has %d bytes; at most %d are read", path, info.Size(), maxSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("finding the configuration's folder: %w", err)
	}
	return parse(path, dir, data)
}

// parse reads data, which was found in a file called name in dir.
func parse(name, dir string, data []byte) (*File, error) {
	d := &decoder{name: name, places: map[string]place{}}
	f := defaults()
	if d.document(data, reflect.ValueOf(f).Elem()) {
		absolute(reflect.ValueOf(f).Elem(), dir)
		f.check(d.fault)
	}
	if len(d.faults) > 0 {
		return nil, d.sorted()
	}
	return f, nil
}

// absolute makes every path in the settings absolute, from the file's own folder.
func absolute(v reflect.Value, dir string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			absolute(v.Elem(), dir)
		}
	case reflect.Slice:
		for i := range v.Len() {
			absolute(v.Index(i), dir)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field, value := v.Type().Field(i), v.Field(i)
			if field.Tag.Get("kind") == "file" && value.String() != "" && !filepath.IsAbs(value.String()) {
				value.SetString(filepath.Join(dir, value.String()))
				continue
			}
			absolute(value, dir)
		}
	}
}

// check asks every room about its part, and what no room can know.
func (f *File) check(fault func(path, problem string)) {
	under := func(node string) func(path, problem string) {
		return func(path, problem string) { fault(join(node, path), problem) }
	}
	f.Settings.Check(fault)
	for i, p := range f.Policies {
		p.Check(policy.Options{TrustGroupNames: f.TrustGroupNames}, under(fmt.Sprintf("policies[%d]", i)))
	}
	f.checkPolicyNames(fault)
	f.OIDC.Check(under("oidc"))
	f.Session.Check(under("session"))
	f.SCIM.Check(under("scim"))
	if o := f.SCIM.OAuth; o != nil && o.Issuer != "" {
		oidc.WorkloadSettings{Issuer: o.Issuer, CAFile: o.CAFile}.Check(under("scim.oauth"))
	}
	f.Audit.Check(under("audit"))
	f.checkListen(under("listen"))
	f.checkAnnounced(under("listen.proxy_protocol"))
	f.checkTLS(under("tls"))
	f.checkStore(under("store"))
	f.checkLog(under("log"))
}

func join(node, path string) string {
	if path == "" || path[0] == '[' {
		return node + path
	}
	return node + "." + strings.TrimPrefix(path, ".")
}

func (f *File) checkPolicyNames(fault func(path, problem string)) {
	for i, p := range f.Policies {
		first := slices.IndexFunc(f.Policies, func(other policy.Named) bool { return other.Name == p.Name })
		if first < i && p.Name != "" {
			fault(fmt.Sprintf("policies[%d].name", i), fmt.Sprintf("policies[%d] is called %q too; give each its own name", first, p.Name))
		}
	}
}

func (f *File) checkListen(fault func(path, problem string)) {
	for _, l := range []struct{ key, addr, example string }{
		{"public", f.Listen.Public, "0.0.0.0:8443"}, {"scim", f.Listen.SCIM, "0.0.0.0:8444"}, {"ops", f.Listen.Ops, "127.0.0.1:9090"},
		{"http", f.Listen.HTTP, "0.0.0.0:80"},
	} {
		if l.addr == "" && (l.key == "scim" && f.SCIM.OnPublic || l.key == "http") {
			continue
		}
		if _, port, err := net.SplitHostPort(l.addr); err != nil || port == "" {
			fault(l.key, fmt.Sprintf("%q is no address to listen on; write host:port, such as %s", l.addr, l.example))
		}
	}
	if f.Listen.HTTP != "" && strings.HasPrefix(f.PublicURL, "http://") {
		fault("http", "has nowhere to send browsers, for public_url is http itself; leave it out")
	}
}

// announcing are the listeners on which clients may be announced.
var announcing = []string{"public", "scim", "http"}

func (f *File) checkAnnounced(fault func(path, problem string)) {
	for i, name := range f.Listen.ProxyProtocol {
		if !slices.Contains(announcing, name) {
			fault(fmt.Sprintf("[%d]", i), fmt.Sprintf("%q is no listener that clients are announced to; write %s", name, strings.Join(announcing, ", ")))
		}
	}
	if len(f.Listen.ProxyProtocol) > 0 && len(f.TrustedProxies) == 0 {
		fault("", "is believed of nobody; name the load balancers that send it in trusted_proxies")
	}
}

func (f *File) checkStore(fault func(path, problem string)) {
	switch {
	case f.Store.Postgres != nil:
		fault("postgres", "is not in this version yet; write bolt: {path: data/sallyport.db}")
	case f.Store.Bolt == nil || f.Store.Bolt.Path == "":
		fault("", "does not say where; write bolt: {path: data/sallyport.db}")
	}
	if f.Control.Socket == "" {
		fault("", "needs control.socket beside it; write control: {socket: data/control.sock}")
	}
}

func (f *File) checkLog(fault func(path, problem string)) {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, f.Log.Level) {
		fault("level", fmt.Sprintf("%q is unknown; write debug, info, warn or error", f.Log.Level))
	}
	if f.Log.Format != "json" && f.Log.Format != "text" {
		fault("format", fmt.Sprintf("%q is unknown; write json or text", f.Log.Format))
	}
}
