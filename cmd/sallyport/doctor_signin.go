package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport/oidc"
)

const (
	probeTimeout = 20 * time.Second
	maxSkew      = 30 * time.Second // between the provider's clock and ours
)

// checkProvider asks the identity provider for its metadata, its keys and the time.
func (d *doctor) checkProvider(ctx context.Context) {
	if d.file == nil {
		d.unknown(withoutConfiguration, correctIt, "discovery", "keys", "clock", "client secret", "redirect URI")
		return
	}
	probe, err := d.probe(ctx)
	if err != nil {
		const fix = "check oidc.issuer, DNS, the firewall and oidc.ca_file"
		d.report("discovery", stateFail, fix, "%v", err)
		d.unknown("the identity provider was not found", fix, "keys", "clock", "client secret")
		d.unknown("the identity provider was not found", "register "+d.redirectURI()+" there", "redirect URI")
		return
	}
	d.pass("discovery", "%s responds, and names itself by this issuer", d.file.OIDC.Issuer)
	if probe.Keys == 0 {
		d.report("keys", stateFail, "check that oidc.issuer is the right one", "the provider publishes no key with which signatures can be checked")
	} else {
		d.pass("keys", "%d keys", probe.Keys)
	}
	d.checkClock(probe.Skew)
	d.checkSecret(ctx)
	d.checkRedirect(ctx)
}

// checkSecret asks the provider whether it accepts the client secret, without signing anybody in.
func (d *doctor) checkSecret(ctx context.Context) {
	p, err := d.provider()
	if err != nil {
		d.report("client secret", stateFail, "write the secret to the file that oidc.client_secret_file names", "%v", err)
		return
	}
	ctx, stop := context.WithTimeout(ctx, probeTimeout)
	defer stop()
	switch err := p.ProbeSecret(ctx); {
	case errors.Is(err, oidc.ErrWrongSecret):
		d.report("client secret", stateFail, "make a new secret at the provider, write its value to the file that oidc.client_secret_file names, and check oidc.client_id", "%v", err)
	case err != nil:
		d.report("client secret", stateUnknown, "sign in once to find out", "%v", err)
	default:
		d.pass("client secret", "the provider accepts it (a code that was made up was rejected, and so was a secret that was made up)")
	}
}

// redirectURI returns the address that must be registered at the provider.
func (d *doctor) redirectURI() string {
	return strings.TrimSuffix(d.file.PublicURL, "/") + "/.sallyport/callback"
}

// checkRedirect asks the provider whether it sends browsers back to the redirect URI, without signing anybody in.
func (d *doctor) checkRedirect(ctx context.Context) {
	p, err := d.provider()
	if err != nil {
		d.unknown("the client secret cannot be read", "register "+d.redirectURI()+" at the provider", "redirect URI")
		return
	}
	ctx, stop := context.WithTimeout(ctx, probeTimeout)
	defer stop()
	code, err := p.ProbeRedirect(ctx)
	d.judgeRedirect(p.RedirectURI(), code, err)
}

func (d *doctor) judgeRedirect(uri, code string, err error) {
	switch {
	case errors.Is(err, oidc.ErrNotRegistered):
		d.report("redirect URI", stateWarn, "register exactly "+uri+" as a redirect URI of oidc.client_id at the provider, for a web application", "%v", err)
	case errors.Is(err, oidc.ErrAnyRedirect):
		d.report("redirect URI", stateWarn, "register exactly "+uri+" at the provider, and no pattern", "%v, so that whether ours is registered is not known", err)
	case err != nil:
		d.report("redirect URI", stateUnknown, "register "+uri+" at the provider if it is not yet, and sign in once to find out", "%v", err)
	case code == "": // somebody is signed in wherever nobody is asked, as in a tenant for tests
		d.pass("redirect URI", "the provider sends browsers back to %s, and to none that was made up", uri)
	default:
		d.pass("redirect URI", "the provider sends browsers back to %s (with %s, since nobody was asked to sign in), and to none that was made up", uri, code)
	}
}

func (d *doctor) checkClock(skew *time.Duration) {
	switch {
	case skew == nil:
		d.unknown("the provider did not say what time it is", "check that this machine follows a time server (NTP)", "clock")
	case skew.Abs() > maxSkew:
		d.report("clock", stateFail, "set the time (NTP)", "the provider's clock differs from ours by %s, so that tokens are rejected", skew.Abs())
	default:
		d.pass("clock", "within %s of the provider's", max(skew.Abs(), time.Second))
	}
}

// provider returns the provider of the configuration.
func (d *doctor) provider() (*oidc.Provider, error) {
	public, err := url.Parse(d.file.PublicURL)
	if err != nil {
		return nil, err
	}
	return oidc.New(d.file.OIDC, public, slog.New(slog.DiscardHandler))
}

func (d *doctor) probe(ctx context.Context) (probe oidc.Probe, err error) {
	p, err := d.provider()
	if err != nil {
		return probe, err
	}
	ctx, stop := context.WithTimeout(ctx, probeTimeout)
	defer stop()
	return p.Probe(ctx)
}

// How long before its end a certificate is worth a warning. ACME certificates are renewed earlier than that.
const (
	expiryWarning     = 14 * 24 * time.Hour
	acmeExpiryWarning = 7 * 24 * time.Hour
)

func (d *doctor) checkCertificate(ctx context.Context) {
	switch {
	case d.file == nil:
		d.unknown(withoutConfiguration, correctIt, "certificate")
		return
	case d.file.TLS.ACME != nil:
		d.checkACME(ctx)
		return
	case d.file.TLS.CertFile == "":
		return
	}
	d.checkCertificateFiles("certificate", d.file.TLS.CertFile, d.file.TLS.KeyFile, "check tls.cert_file and tls.key_file", "put a new one in its place, which is read without a restart")
}

// checkCertificateFiles reports whether a certificate and its key can be used, and for how long. fix says what to do if
// they cannot, and renew what to do if the certificate is near its end.
func (d *doctor) checkCertificateFiles(check, certFile, keyFile, fix, renew string) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		d.report(check, stateFail, fix, "%v", err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		d.report(check, stateFail, fix, "%v", err)
		return
	}
	d.reportExpiry(check, leaf.NotAfter, expiryWarning, renew)
}

func (d *doctor) reportExpiry(check string, end time.Time, warning time.Duration, fix string) {
	switch left := time.Until(end); {
	case left <= 0:
		d.report(check, stateFail, fix, "it expired on %s", end.Format(time.DateOnly))
	case left < warning:
		d.report(check, stateWarn, fix, "it expires on %s", end.Format(time.DateOnly))
	default:
		d.pass(check, "valid until %s", end.Format(time.DateOnly))
	}
}

// What doctor reads in the metrics of the running server.
var (
	metricWithoutCertificate = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^sallyport_tls_hosts_without_certificate (.*)$`) })
	metricExpiry             = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^sallyport_tls_certificate_expiry_timestamp_seconds (.*)$`)
	})
	metricWrongVersion = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^sallyport_jwt_verifications_total\{[^}]*reason="wrong_version"[^}]*\} ([1-9].*)$`)
	})
)

// checkACME reads in the running server's metrics which certificates it obtained.
func (d *doctor) checkACME(ctx context.Context) {
	metrics, err := d.client.readMetrics(ctx)
	if err != nil {
		d.report("certificate", stateUnknown, startServer, "the running server's metrics cannot be read: %v", err)
		return
	}
	if m := metricWithoutCertificate().FindStringSubmatch(metrics); m != nil && m[1] != "0" {
		d.report("certificate", stateFail, "look in the server's log for why the authority issues none", "%s hosts have none", m[1])
		return
	}
	if m := metricExpiry().FindStringSubmatch(metrics); m != nil {
		seconds, _ := strconv.ParseFloat(m[1], 64) // the server wrote it
		d.reportExpiry("certificate", time.Unix(int64(seconds), 0), acmeExpiryWarning, "look in the server's log for why the authority does not renew it")
		return
	}
	d.unknown("the running server's metrics do not tell when it expires", "look in the server's log for what became of the order", "certificate")
}

// checkTokenVersion reads in the running server's metrics whether bearer tokens of version 1.0 were rejected.
func (d *doctor) checkTokenVersion(ctx context.Context) {
	switch {
	case d.file == nil:
		d.unknown(withoutConfiguration, correctIt, "token version")
		return
	case len(d.file.OIDC.APIAudiences) == 0:
		return
	}
	metrics, err := d.client.readMetrics(ctx)
	if err != nil {
		d.report("token version", stateUnknown, startServer, "the running server's metrics cannot be read: %v", err)
		return
	}
	if m := metricWrongVersion().FindStringSubmatch(metrics); m != nil {
		d.report("token version", stateFail, "set api.requestedAccessTokenVersion to 2 in the manifest of the API's registration", "%s bearer tokens of version 1.0 were rejected", m[1])
		return
	}
	d.pass("token version", "no bearer token of version 1.0 was rejected")
}
