// Package config reads the configuration file: one YAML document, composed of the settings of the other packages.
//
// A file is accepted as a whole or not at all. All its mistakes are reported at once, each with file:line:column and
// what to write instead. Each package checks its own settings; this package checks what concerns several of them.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/audit/sink"
	"sallyport/directory"
	"sallyport/listen"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/webhook"
)

// File is a configuration file.
type File struct {
	proxy.Settings `yaml:",inline"`

	Tests []access.Case `yaml:"tests" doc:"decisions that the rules must come to; a reload that changes one is refused"`

	Listen   listen.Settings    `yaml:"listen" doc:"the addresses to listen on"`
	TLS      listen.TLS         `yaml:"tls" doc:"how the public and scim listeners speak TLS"`
	Limits   Limits             `yaml:"limits" doc:"how much is accepted at once"`
	Store    Store              `yaml:"store" doc:"where users, groups and sessions are stored"`
	Control  Control            `yaml:"control" doc:"how the operator's verbs reach the running server"`
	OIDC     oidc.Settings      `yaml:"oidc" doc:"the identity provider that signs people in"`
	Session  session.Settings   `yaml:"session" doc:"how long people stay signed in"`
	SCIM     scim.Settings      `yaml:"scim" doc:"what the identity provider pushes"`
	Audit    Audit              `yaml:"audit" doc:"the record of requests, logins, cuts and changes"`
	Webhooks []webhook.Settings `yaml:"webhooks" doc:"programs that are told of events"`
	Log      Log                `yaml:"log" doc:"what is written to standard error"`

	Text []byte `yaml:"-"` // that was read

	History directory.Retention `yaml:"history" doc:"for how long the changes of users, groups and memberships are kept, to tell who had access at a time; such as 400d, or off"`
}

// Limits bound what is accepted at once: those of the proxy and those of the listeners, in one section.
type Limits struct {
	Proxy  proxy.Limits  `yaml:",inline"`
	Listen listen.Limits `yaml:",inline"`
}

// Audit is the record, and where it is sent: in one section.
type Audit struct {
	audit.Settings `yaml:",inline"`

	Sinks []sink.Settings `yaml:"sinks" doc:"other systems that the record is sent to"`
}

// Check reports every fault of a.
func (a Audit) Check(fault func(path, problem string)) {
	a.Settings.Check(fault)
	sink.Check(a.Sinks, func(path, problem string) { fault("sinks"+path, problem) })
}

// Store selects the engine of the store: exactly one.
type Store struct {
	Bolt     *Bolt     `yaml:"bolt" doc:"one file on the local disk"`
	Postgres *Postgres `yaml:"postgres" doc:"a PostgreSQL database, which several servers may use at once"`
}

// String returns where the store is, for people.
func (s Store) String() string {
	if s.Postgres != nil {
		return "the database that " + s.Postgres.URLFile + " names"
	}
	return s.Bolt.Path
}

// Bolt is the engine for one server.
type Bolt struct {
	Path    string `yaml:"path" kind:"file" doc:"the file; its folder is created if needed"`
	Reserve *int   `yaml:"reserve" doc:"bytes of the disk that are kept for changes that take access away; at most an eighth of the disk"`
}

// DefaultReserve is the reserve of a store that names none, in bytes.
const DefaultReserve = 8 << 20

// ReserveBytes returns the reserve of the store.
func (b *Bolt) ReserveBytes() int64 {
	if b.Reserve == nil {
		return DefaultReserve
	}
	return int64(*b.Reserve)
}

// Postgres is the engine for several servers, the replicas.
type Postgres struct {
	URLFile string        `yaml:"url_file" kind:"file" doc:"a file that holds the connection URL"`
	Lease   time.Duration `yaml:"lease" doc:"how long a replica decides after the database confirmed that it is current, such as 15s"`
	Replica string        `yaml:"replica" doc:"the name of this replica; the host name if none is set"`
}

// DefaultLease is the lease of a store that names none.
const DefaultLease = 15 * time.Second

// LeaseLength returns the lease of the store.
func (p *Postgres) LeaseLength() time.Duration {
	if p.Lease == 0 {
		return DefaultLease
	}
	return p.Lease
}

const maxReplica = 63

// replicaPattern matches the name of a replica, but for its length: repetitions with a limit take long to compile.
var replicaPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`) })

func (p *Postgres) check(fault func(path, problem string)) {
	if p.URLFile == "" {
		fault("url_file", "names no file; write the name of a file that has the connection URL, such as secrets/postgres")
	}
	if p.Lease != 0 && (p.Lease < time.Second || p.Lease > 10*time.Minute) {
		fault("lease", "a lease lasts between 1s and 10m; write for example 15s")
	}
	if p.Replica != "" && (len(p.Replica) > maxReplica || !replicaPattern().MatchString(p.Replica)) {
		fault("replica", "is no name of a replica; write up to 63 letters, digits, dots and dashes, or leave it out for the host name")
	}
}

// Control is the socket for the operator's verbs.
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
		Settings: proxy.Defaults(), OIDC: oidc.Defaults(), Session: session.Defaults(), SCIM: scim.Defaults(), Audit: Audit{Settings: audit.Defaults()},
		Control: Control{"data/control.sock"}, Log: Log{"info", "json"}, History: directory.DefaultRetention,
		Listen: listen.Defaults(), Limits: Limits{proxy.Defaults().Limits, listen.DefaultLimits()},
	}
}

// Proxy returns the settings of the proxy.
func (f *File) Proxy() proxy.Settings {
	s := f.Settings
	s.Limits = f.Limits.Proxy
	return s
}

// site returns what the checks of package listen need of the other packages' settings.
func (f *File) site() listen.Site {
	s := listen.Site{PublicURL: f.PublicURL, TrustedProxies: f.TrustedProxies, SCIMOnPublic: f.SCIM.OnPublic}
	for _, r := range f.Routes {
		s.RouteHosts = append(s.RouteHosts, r.Host)
	}
	return s
}

// maxSize is the largest size of a configuration file, in bytes.
const maxSize = 1 << 20

// Load reads the file at path. If its content has mistakes, the error is a [Faults] with all of them. [LoadToServe] finds
// what keeps a server from starting besides.
func Load(path string) (*File, error) {
	data, dir, err := read(path)
	if err != nil {
		return nil, err
	}
	f, faults, _ := decode(path, dir, data)
	if len(faults) > 0 {
		return nil, faults
	}
	f.Text = data
	return f, nil
}

// Rules are the parts of a configuration file that say who may reach what, and their tests.
type Rules struct {
	Settings proxy.Settings
	Tests    []access.Case

	decoder *decoder // which knows where each value stands
}

// Fault returns a fault at the place of a path of keys, such as policies[0].rules[1].
func (r *Rules) Fault(path, problem string) Fault {
	pos := r.decoder.nearestPosition(path)
	return Fault{r.decoder.name, pos.line, pos.col, path, problem}
}

// Place returns where the value at a path of keys stands in the text, or the nearest that contains it; 0 if the text has no
// such key, since it is the part of a configuration.
func (r *Rules) Place(path string) (line, col int) {
	pos := r.decoder.placeInPart(path)
	return pos.line, pos.col
}

// placeInPart is nearestPosition, but returns no position for what the text has no key of.
func (d *decoder) placeInPart(path string) position {
	key := path
	if end := strings.IndexAny(path, ".["); end > 0 {
		key = path[:end]
	}
	if _, ok := d.positions[key]; !ok && key != "" {
		return position{}
	}
	return d.nearestPosition(path)
}

// ReadRules reads the file at path for its rules alone. Mistakes elsewhere in it, and files that it names and that are not
// there, do not matter.
func ReadRules(path string) (text []byte, rules *Rules, err error) {
	data, _, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	rules, err = ParseRules(path, data)
	return data, rules, err
}

// ParseRules is [ReadRules] for the content of a file that is called name.
func ParseRules(name string, data []byte) (*Rules, error) {
	f, d, _ := decodeInto(name, "/", data)
	return rulesOf(f, d, aboutRules)
}

// rulesOf returns the rules of f, or the faults that about says to be about rules.
func rulesOf(f *File, d *decoder, about func(path string) bool) (*Rules, error) {
	faults := slices.DeleteFunc(d.sorted(), func(fault Fault) bool { return !about(fault.Path) })
	if len(faults) > 0 {
		return nil, faults
	}
	return &Rules{f.Proxy(), f.Tests, d}, nil
}

// ParseChange returns the rules of data, which is a whole configuration, or some keys of one that replace those of inForce, the
// text of a configuration without mistakes: policies, for example.
func ParseChange(name string, data, inForce []byte) (*Rules, error) {
	keys := map[string]yaml.Node{}
	if err := yaml.Unmarshal(data, &keys); err != nil || len(keys) == 0 {
		return ParseRules(name, data) // which says what is wrong
	}
	if _, whole := keys["public_url"]; whole {
		f, d, _ := decodeInto(name, "/", data)
		return rulesOf(f, d, aboutChange)
	}
	f, d := defaults(), &decoder{name: name, positions: map[string]position{}}
	(&decoder{positions: map[string]position{}}).document(inForce, reflect.ValueOf(f).Elem())
	if d.document(data, reflect.ValueOf(f).Elem()) {
		f.check(func(path, problem string) { d.faultAt(d.placeInPart(path), path, problem) })
	}
	if !slices.ContainsFunc([]string{"policies", "routes", "tests"}, func(key string) bool { _, ok := keys[key]; return ok }) {
		d.faultAt(start, "policies", "is missing; paste a whole configuration, or the parts policies, routes and tests of one")
	}
	return rulesOf(f, d, aboutChange)
}

// ReadTests returns the content of the file at path, if it has tests as its only key.
func ReadTests(path string) ([]byte, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s", path)
	}
	data, _, err := read(path)
	if err == nil {
		_, err = ParseTests(path, data)
	}
	return data, err
}

// ParseTests returns the tests in data, the content of a file that is called name and has no other key than tests.
func ParseTests(name string, data []byte) ([]access.Case, error) {
	var f struct {
		Tests []access.Case `yaml:"tests"`
	}
	d := &decoder{name: name, positions: map[string]position{}}
	if d.document(data, reflect.ValueOf(&f).Elem()) {
		checkTests(f.Tests, d.fault)
	}
	if len(f.Tests) == 0 && len(d.faults) == 0 {
		d.faultAt(start, "tests", "has no test; write one, or leave the file out")
	}
	if len(d.faults) > 0 {
		return nil, d.sorted()
	}
	return f.Tests, nil
}

func checkTests(cases []access.Case, fault func(path, problem string)) {
	for i, c := range cases {
		c.Check(func(path, problem string) { fault(join(fmt.Sprintf("tests[%d]", i), path), problem) })
	}
}

// aboutRules reports whether a fault at path can change what rules say. Paths of no key are those of the whole file.
func aboutRules(path string) bool {
	for _, key := range []string{"policies", "routes", "public_url", "trusted_proxies", "trust_group_names", "tests"} {
		if strings.HasPrefix(path, key) {
			return !strings.HasSuffix(path, "_file")
		}
	}
	return path == ""
}

// aboutChange is aboutRules, and reports whether a key is none that a configuration has: what is misspelled would change nothing.
func aboutChange(path string) bool {
	return aboutRules(path) || !strings.ContainsAny(path, ".[") && !slices.Contains(keysOf(reflect.TypeFor[File]()), path)
}

// read returns the content of the file at path, and its folder, at which relative paths start.
func read(path string) (data []byte, dir string, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, "", fmt.Errorf("there is no configuration file %s; name one with -c FILE, or begin with what `sallyport config example` prints", path)
	case err != nil:
		return nil, "", fmt.Errorf("reading the configuration: %w", err)
	case info.IsDir():
		return nil, "", fmt.Errorf("reading the configuration: %s is a folder; name the file with -c FILE", path)
	case info.Size() > maxSize:
		return nil, "", fmt.Errorf("reading the configuration: %s has %d bytes; at most %d are read", path, info.Size(), maxSize)
	}
	if data, err = os.ReadFile(path); err != nil {
		return nil, "", fmt.Errorf("reading the configuration: %w", err)
	}
	if dir, err = filepath.Abs(filepath.Dir(path)); err != nil {
		return nil, "", fmt.Errorf("finding the configuration's folder: %w", err)
	}
	return data, dir, nil
}

// decode decodes data, the content of the file name. Relative paths in it start at dir. If there are faults, f holds what
// could be decoded: nothing if data is not YAML.
func decode(name, dir string, data []byte) (f *File, faults Faults, isYAML bool) {
	f, d, isYAML := decodeInto(name, dir, data)
	return f, d.sorted(), isYAML
}

// decodeInto is [decode], and returns the decoder with its faults.
func decodeInto(name, dir string, data []byte) (f *File, d *decoder, isYAML bool) {
	f, d = defaults(), &decoder{name: name, positions: map[string]position{}}
	if isYAML = d.document(data, reflect.ValueOf(f).Elem()); isYAML {
		makeAbsolute(reflect.ValueOf(f).Elem(), dir)
		f.check(d.fault)
		d.checkColors(f)
	}
	return f, d, isYAML
}

// checkColors reports colors that are written without quotes.
func (d *decoder) checkColors(f *File) {
	for key, color := range map[string]string{"brand.color": f.Brand.Color, "brand.color_dark": f.Brand.ColorDark} {
		if _, written := d.positions[key]; written && color == "" {
			d.fault(key, `has no value: YAML takes # for the beginning of a comment; write the color in quotes, such as "#1d4ed8"`)
		}
	}
}

// makeAbsolute makes every path in the settings absolute, starting at dir.
func makeAbsolute(v reflect.Value, dir string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			makeAbsolute(v.Elem(), dir)
		}
	case reflect.Slice:
		for i := range v.Len() {
			makeAbsolute(v.Index(i), dir)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field, value := v.Type().Field(i), v.Field(i)
			if field.Tag.Get("kind") == "file" && value.String() != "" && !filepath.IsAbs(value.String()) {
				value.SetString(filepath.Join(dir, value.String()))
				continue
			}
			makeAbsolute(value, dir)
		}
	}
}

// check reports the mistakes that each package finds in its settings, and those that concern several packages.
func (f *File) check(fault func(path, problem string)) {
	under := func(node string) func(path, problem string) {
		return func(path, problem string) { fault(join(node, path), problem) }
	}
	f.Proxy().Check(fault)
	for i, p := range f.Policies {
		p.Check(policy.Options{TrustGroupNames: f.TrustGroupNames}, under(fmt.Sprintf("policies[%d]", i)))
	}
	f.checkPolicyNames(fault)
	checkTests(f.Tests, fault)
	f.OIDC.Check(under("oidc"))
	f.Session.Check(under("session"))
	f.SCIM.Check(under("scim"))
	if o := f.SCIM.OAuth; o != nil && o.Issuer != "" {
		oidc.WorkloadSettings{Issuer: o.Issuer, CAFile: o.CAFile}.Check(under("scim.oauth"))
	}
	f.Audit.Check(under("audit"))
	webhook.Check(f.Webhooks, under("webhooks"))
	f.Listen.Check(f.site(), under("listen"))
	f.TLS.Check(f.site(), under("tls"))
	f.Limits.Listen.Check(under("limits"))
	f.checkStore(under("store"))
	f.checkFilesDiffer(fault)
	f.checkLog(under("log"))
}

// join returns the path of a key below node. path may be empty, or begin with an index.
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
			fault(fmt.Sprintf("policies[%d].name", i), fmt.Sprintf("policies[%d] has the name %q too; give each policy its own name", first, p.Name))
		}
	}
}

func (f *File) checkStore(fault func(path, problem string)) {
	switch {
	case f.Store.Postgres != nil && f.Store.Bolt != nil:
		fault("postgres", "stands beside bolt; remove one of the two")
	case f.Store.Postgres != nil:
		f.Store.Postgres.check(func(path, problem string) { fault("postgres."+path, problem) })
	case f.Store.Bolt == nil || f.Store.Bolt.Path == "":
		fault("", "names no store; write bolt: {path: data/sallyport.db}, or postgres: {url_file: secrets/postgres} for several servers")
	case f.Store.Bolt.Reserve != nil && *f.Store.Bolt.Reserve < 0:
		fault("bolt.reserve", "cannot be negative; write a number of bytes such as 8388608, or 0 for no reserve")
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
