package listen

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Settings are the addresses to listen on: the section "listen" of the configuration.
type Settings struct {
	Public string `yaml:"public" doc:"applications and login"`
	SCIM   string `yaml:"scim" doc:"SCIM alone; empty only with scim.on_public"`
	Ops    string `yaml:"ops" doc:"/metrics, /healthz and /readyz, without authentication: never public"`
	HTTP   string `yaml:"http" doc:"redirects browsers from http to https and responds to HTTP-01 challenges of ACME; serves nothing else. None when absent"`

	Drain time.Duration `yaml:"drain" doc:"how long /readyz says 503, after SIGTERM or SIGINT, before the other listeners close"`
	Grace time.Duration `yaml:"grace" doc:"how long requests under way may take after that"`

	StreamGrace time.Duration `yaml:"stream_grace" doc:"how long WebSockets, streams and downloads may go on after that; at most as long as grace"`

	ProxyProtocol []string `yaml:"proxy_protocol" doc:"listeners (public, scim, http) on which trusted_proxies must name the client by the PROXY protocol, version 1 or 2"`
}

// Defaults returns what absent keys mean.
func Defaults() Settings {
	return Settings{Ops: "127.0.0.1:9090", Grace: defaultGrace, StreamGrace: defaultStreamGrace}
}

// Streams returns how long WebSockets, streams and downloads may go on once the listeners are closed.
func (s Settings) Streams() time.Duration { return min(s.StreamGrace, s.Grace) }

// TLS is where certificates come from: exactly one of files, acme and off. It is the section "tls" of the configuration.
type TLS struct {
	CertFile string `yaml:"cert_file" kind:"file" doc:"PEM certificate chain"`
	KeyFile  string `yaml:"key_file" kind:"file" doc:"PEM private key"`
	ACME     *ACME  `yaml:"acme" doc:"certificates for public_url's host and every route's, obtained and renewed by ACME (RFC 8555)"`
	Off      bool   `yaml:"off" doc:"true: plain HTTP, behind trusted_proxies or for localhost alone"`
}

// ACME is how certificates are obtained.
type ACME struct {
	Email        string `yaml:"email" doc:"contact address for the authority"`
	AcceptTerms  bool   `yaml:"accept_terms" doc:"true: you have read the authority's terms of service and agree to them; required"`
	DirectoryURL string `yaml:"directory_url" doc:"the authority; Let's Encrypt when absent"`
	CAFile       string `yaml:"ca_file" kind:"file" doc:"PEM certificates that sign the authority's own server certificate; the system's when absent"`
	EAB          *EAB   `yaml:"eab" doc:"external account binding, if the authority requires it"`
}

// EAB binds the ACME account to an account that the authority knows already.
type EAB struct {
	KeyID   string `yaml:"key_id" doc:"identifier of the key, as the authority gave it"`
	KeyFile string `yaml:"key_file" kind:"file" doc:"a file that holds the HMAC key, in base64url as the authority gave it"`
}

const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Directory returns the URL of the authority's directory.
func (a ACME) Directory() string { return cmp.Or(a.DirectoryURL, letsEncrypt) }

// Site is the part of the configuration that other packages own and that the checks of this package need.
type Site struct {
	PublicURL      string
	RouteHosts     []string
	TrustedProxies []string
	SCIMOnPublic   bool
}

// Check reports every fault of s by its path.
func (s Settings) Check(site Site, fault func(path, problem string)) {
	for _, l := range []struct{ key, addr, example string }{
		{"public", s.Public, "0.0.0.0:8443"}, {"scim", s.SCIM, "0.0.0.0:8444"}, {"ops", s.Ops, "127.0.0.1:9090"},
		{"http", s.HTTP, "0.0.0.0:80"},
	} {
		if l.addr == "" && (l.key == "scim" && site.SCIMOnPublic || l.key == "http") {
			continue
		}
		if _, _, err := splitAddress(l.addr); err != nil {
			fault(l.key, fmt.Sprintf("%q is not an address to listen on; write host:port, such as %s", l.addr, l.example))
		}
	}
	if s.HTTP != "" && strings.HasPrefix(site.PublicURL, "http://") {
		fault("http", "cannot redirect browsers to https, since public_url is http itself; remove this key")
	}
	if s.Drain < 0 || s.Drain > time.Hour {
		fault("drain", fmt.Sprintf("%s is not between 0s and 1h; write for example 10s", s.Drain))
	}
	if s.Grace < time.Second || s.Grace > time.Hour {
		fault("grace", fmt.Sprintf("%s is not between 1s and 1h; write for example 30s", s.Grace))
	}
	if s.StreamGrace < 0 || s.StreamGrace > s.Grace && s.StreamGrace != defaultStreamGrace {
		fault("stream_grace", fmt.Sprintf("%s is not between 0s and listen.grace, %s; write for example 5s", s.StreamGrace, s.Grace))
	}
	s.checkDistinct(fault)
	s.checkProxyProtocol(site, fault)
}

// addresses yields key and address of each listener, in order.
func (s Settings) addresses() func(yield func(key, addr string) bool) {
	return func(yield func(key, addr string) bool) {
		_ = yield("public", s.Public) && yield("scim", s.SCIM) && yield("ops", s.Ops) && yield("http", s.HTTP)
	}
}

// checkDistinct reports listeners that cannot both be opened, since their addresses are the same or one of them is part
// of the other.
func (s Settings) checkDistinct(fault func(path, problem string)) {
	type listener struct {
		key, host string
		port      int
	}
	var earlier []listener
	for key, addr := range s.addresses() {
		host, port, err := splitAddress(addr)
		if err != nil || port == 0 {
			continue
		}
		for _, other := range earlier {
			if other.port == port && overlaps(other.host, host) {
				fault(key, fmt.Sprintf("cannot be %s, which listen.%s takes already; give each listener an address of its own", addr, other.key))
				break
			}
		}
		earlier = append(earlier, listener{key, host, port})
	}
}

// splitAddress returns host and port of an address to listen on. The host is an IP address in its shortest form if it can
// be one, "" for every address.
func splitAddress(addr string) (host string, port int, err error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if service == "" {
		return "", 0, errNoPort
	}
	if port, err = net.LookupPort("tcp", service); err != nil {
		return "", 0, err
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return host, port, nil
}

var errNoPort = errors.New("there is no port")

// overlaps reports whether two hosts are the same, or one of them stands for every address of the other's kind. The
// address :: stands for those of IPv4 too.
func overlaps(a, b string) bool {
	return a == b || isEveryAddress(a, b) || isEveryAddress(b, a)
}

func isEveryAddress(host, other string) bool {
	ip, err := netip.ParseAddr(other)
	return host == "" || host == "::" || host == "0.0.0.0" && (err != nil || ip.Is4() || other == "::")
}

// CheckOpen reports the listeners that cannot be opened on this machine, whoever else uses their ports. It tries each
// address with a port of its own, but those below 1024 themselves, since not everybody may use them.
func (s Settings) CheckOpen(fault func(path, problem string)) {
	for key, addr := range s.addresses() {
		host, port, err := splitAddress(addr)
		if err != nil { // reported by Check, or not configured
			continue
		}
		if port >= 1024 {
			port = 0
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		switch {
		case err == nil:
			_ = l.Close()
		case !errors.Is(err, syscall.EADDRINUSE):
			fault(key, fmt.Sprintf("cannot listen on %s: %v; %s", addr, err, remedy(err)))
		}
	}
}

// proxyProtocolListeners are the listeners that can read the PROXY protocol.
var proxyProtocolListeners = []string{"public", "scim", "http"}

func (s Settings) checkProxyProtocol(site Site, fault func(path, problem string)) {
	for i, name := range s.ProxyProtocol {
		if !slices.Contains(proxyProtocolListeners, name) {
			fault(fmt.Sprintf("proxy_protocol[%d]", i), fmt.Sprintf("%q is not a listener that reads the PROXY protocol; write %s", name, strings.Join(proxyProtocolListeners, ", ")))
		}
	}
	if len(s.ProxyProtocol) > 0 && len(site.TrustedProxies) == 0 {
		fault("proxy_protocol", "has no effect, since no proxy is trusted; name the load balancers that send it in trusted_proxies")
	}
}

// Check reports every fault of t by its path.
func (t TLS) Check(site Site, fault func(path, problem string)) {
	files := t.CertFile != "" || t.KeyFile != ""
	switch {
	case t.ACME != nil && (files || t.Off):
		fault("acme", "stands beside files or off; remove one of the two")
	case t.ACME != nil:
		t.ACME.check(site, func(path, problem string) { fault(strings.TrimSuffix("acme."+path, "."), problem) })
	case t.Off && files:
		fault("off", "is true although files are named; remove one of the two")
	case t.Off && len(site.TrustedProxies) == 0 && !isLocalhost(site.PublicURL):
		fault("off", "sends passwords and cookies in clear text; name the proxies that speak TLS in trusted_proxies, or write cert_file and key_file")
	case !t.Off && !files:
		fault("", "names no certificate; write cert_file and key_file, or acme")
	case !t.Off:
		checkReadable("cert_file", t.CertFile, fault)
		checkReadable("key_file", t.KeyFile, fault)
	}
}

func (a ACME) check(site Site, fault func(path, problem string)) {
	if !a.AcceptTerms {
		fault("accept_terms", "is not true; read the terms of service of "+a.Directory()+", and write accept_terms: true if you agree")
	}
	if a.Email != "" && (strings.Count(a.Email, "@") != 1 || strings.ContainsAny(a.Email, " ,?&<>")) {
		fault("email", fmt.Sprintf("%q is not an e-mail address; write one, such as ops@example.com", a.Email))
	}
	if u, err := url.Parse(a.Directory()); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		fault("directory_url", fmt.Sprintf("%q is not the https URL of an ACME directory; write one, such as %s", a.DirectoryURL, letsEncrypt))
	}
	if a.CAFile != "" {
		checkReadable("ca_file", a.CAFile, fault)
	}
	if a.EAB != nil {
		if a.EAB.KeyID == "" {
			fault("eab.key_id", "is missing; the authority gives it to you together with the key")
		}
		checkReadable("eab.key_file", a.EAB.KeyFile, fault)
	}
	checkDomainNames(site, fault)
}

// checkDomainNames reports the first host for which no authority issues a certificate.
func checkDomainNames(site Site, fault func(path, problem string)) {
	hosts := []string{}
	if u, err := url.Parse(site.PublicURL); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	for _, host := range append(hosts, site.RouteHosts...) {
		if strings.HasPrefix(host, "*.") {
			fault("", fmt.Sprintf("cannot get a certificate for %q: authorities issue those for wildcards only to whoever can change the DNS zone, which Sallyport does not do; write cert_file and key_file with a certificate for it, or a route for each host", host))
			return
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || !strings.Contains(strings.Trim(host, "."), ".") || strings.Contains(host, "_") {
			fault("", fmt.Sprintf("cannot get a certificate for %q; ACME authorities issue them for domain names only: write cert_file and key_file instead", host))
			return
		}
	}
}

func isLocalhost(publicURL string) bool {
	_, host, _ := strings.Cut(publicURL, "://")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func checkReadable(key, path string, fault func(path, problem string)) {
	if path == "" {
		fault(key, "is missing; write the path of a file")
		return
	}
	file, err := os.Open(path)
	if err != nil {
		fault(key, fmt.Sprintf("cannot be read: %v", err))
		return
	}
	_ = file.Close()
}

// CheckFiles loads the files that t names, and reports by its path each that does not hold what it should.
func (t TLS) CheckFiles(fault func(path, problem string)) {
	if _, err := LoadCertificate(t); err != nil {
		fault(faultyFile(t), err.Error()+"; write a chain and the key of its first certificate, in PEM")
	}
	if t.ACME == nil {
		return
	}
	if _, err := acmeHTTPClient(t.ACME.CAFile); err != nil {
		fault("acme.ca_file", err.Error())
	}
	if t.ACME.EAB != nil {
		if _, err := readEAB(*t.ACME.EAB); err != nil {
			fault("acme.eab.key_file", err.Error())
		}
	}
}

// faultyFile returns the key of the file because of which a certificate cannot be loaded: the certificate's own, or that
// of a key which does not fit it.
func faultyFile(t TLS) string {
	data, err := os.ReadFile(t.CertFile)
	if err != nil {
		return "cert_file"
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(block.Bytes); err == nil {
				return "key_file"
			}
			return "cert_file"
		}
	}
	return "cert_file"
}
