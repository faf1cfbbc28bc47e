package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// TLS says where certificates come from: exactly one of files, acme and off.
type TLS struct {
	CertFile string `yaml:"cert_file" kind:"file" doc:"PEM certificate chain"`
	KeyFile  string `yaml:"key_file" kind:"file" doc:"PEM private key"`
	ACME     *ACME  `yaml:"acme" doc:"certificates for public_url's host and every route's, obtained and renewed by ACME (RFC 8555)"`
	Off      bool   `yaml:"off" doc:"true: plain HTTP, behind trusted_proxies or for localhost alone"`
}

// ACME is how certificates are obtained.
type ACME struct {
	Email        string `yaml:"email" doc:"whom the authority may write to"`
	AcceptTerms  bool   `yaml:"accept_terms" doc:"true: you have read the authority's terms of service and agree to them; required"`
	DirectoryURL string `yaml:"directory_url" doc:"the authority; Let's Encrypt when absent"`
	CAFile       string `yaml:"ca_file" kind:"file" doc:"PEM certificates that may sign that of the authority's own server, instead of the system's"`
	EAB          *EAB   `yaml:"eab" doc:"external account binding, where the authority asks for it"`
}

// EAB binds the ACME account to one that the authority knows already.
type EAB struct {
	KeyID   string `yaml:"key_id" doc:"names the key, by the authority's word"`
	KeyFile string `yaml:"key_file" kind:"file" doc:"a file that holds the HMAC key, in base64url as the authority gives it"`
}

const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Directory is the URL of the authority.
func (a ACME) Directory() string { return cmp.Or(a.DirectoryURL, letsEncrypt) }

func (f *File) checkTLS(fault func(path, problem string)) {
	t, local := f.TLS, f.localhost()
	files := t.CertFile != "" || t.KeyFile != ""
	switch {
	case t.ACME != nil && (files || t.Off):
		fault("acme", "stands beside files or off; leave one of the two out")
	case t.ACME != nil:
		f.checkACME(*t.ACME, func(path, problem string) { fault(join("acme", path), problem) })
	case t.Off && files:
		fault("off", "is true although files are named; leave one of the two out")
	case t.Off && len(f.TrustedProxies) == 0 && !local:
		fault("off", "leaves passwords and cookies to whoever listens; name the proxies that speak TLS in trusted_proxies, or give cert_file and key_file")
	case !t.Off && !files:
		fault("", "says nothing of a certificate; write cert_file and key_file, or acme")
	case !t.Off:
		readable("cert_file", t.CertFile, fault)
		readable("key_file", t.KeyFile, fault)
	}
}

func (f *File) checkACME(a ACME, fault func(path, problem string)) {
	if !a.AcceptTerms {
		fault("accept_terms", "is not true; read the terms of service of "+a.Directory()+", and write accept_terms: true if you agree")
	}
	if a.Email != "" && (strings.Count(a.Email, "@") != 1 || strings.ContainsAny(a.Email, " ,?&<>")) {
		fault("email", fmt.Sprintf("%q is no e-mail address; write one, such as ops@example.com", a.Email))
	}
	if u, err := url.Parse(a.Directory()); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		fault("directory_url", fmt.Sprintf("%q is not the https URL of an ACME directory; write one, such as %s", a.DirectoryURL, letsEncrypt))
	}
	if a.CAFile != "" {
		readable("ca_file", a.CAFile, fault)
	}
	if a.EAB != nil {
		if a.EAB.KeyID == "" {
			fault("eab.key_id", "is missing; the authority gives it to you together with the key")
		}
		readable("eab.key_file", a.EAB.KeyFile, fault)
	}
	f.checkNames(fault)
}

// checkNames refuses hosts that no authority gives certificates for.
func (f *File) checkNames(fault func(path, problem string)) {
	hosts := []string{}
	if u, err := url.Parse(f.PublicURL); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	for _, r := range f.Routes {
		hosts = append(hosts, r.Host)
	}
	for _, host := range hosts {
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || !strings.Contains(strings.Trim(host, "."), ".") || strings.Contains(host, "_") {
			fault("", fmt.Sprintf("cannot get a certificate for %q; ACME gives them for domain names alone: give cert_file and key_file instead", host))
			return
		}
	}
}

func (f *File) localhost() bool {
	_, host, _ := strings.Cut(f.PublicURL, "://")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func readable(key, path string, fault func(path, problem string)) {
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
