package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
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
		d.unknown(withoutConfiguration, "discovery", "keys", "clock")
		return
	}
	probe, err := d.probe(ctx)
	if err != nil {
		d.report("discovery", stateFail, "%v", err)
		d.unknown("the identity provider was not found", "keys", "clock")
		return
	}
	d.report("discovery", stateOK, "%s responds, and names itself by this issuer", d.file.OIDC.Issuer)
	if probe.Keys == 0 {
		d.report("keys", stateFail, "the provider publishes no key with which signatures can be checked")
	} else {
		d.report("keys", stateOK, "%d keys", probe.Keys)
	}
	d.checkClock(probe.Skew)
}

func (d *doctor) checkClock(skew *time.Duration) {
	switch {
	case skew == nil:
		d.unknown("the provider did not say what time it is; check that this machine follows a time server (NTP)", "clock")
	case skew.Abs() > maxSkew:
		d.report("clock", stateFail, "the provider's clock differs from ours by %s; set the time (NTP), or tokens are rejected", skew.Abs())
	default:
		d.report("clock", stateOK, "within %s of the provider's", max(skew.Abs(), time.Second))
	}
}

func (d *doctor) probe(ctx context.Context) (probe oidc.Probe, err error) {
	public, err := url.Parse(d.file.PublicURL)
	if err != nil {
		return probe, err
	}
	p, err := oidc.New(d.file.OIDC, public, slog.New(slog.DiscardHandler))
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
		d.unknown(withoutConfiguration, "certificate")
		return
	case d.file.TLS.ACME != nil:
		d.checkACME(ctx)
		return
	case d.file.TLS.CertFile == "":
		return
	}
	pair, err := tls.LoadX509KeyPair(d.file.TLS.CertFile, d.file.TLS.KeyFile)
	if err != nil {
		d.report("certificate", stateFail, "%v", err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		d.report("certificate", stateFail, "%v", err)
		return
	}
	d.reportExpiry(leaf.NotAfter, expiryWarning)
}

func (d *doctor) reportExpiry(end time.Time, warning time.Duration) {
	switch left := time.Until(end); {
	case left <= 0:
		d.report("certificate", stateFail, "it expired on %s", end.Format(time.DateOnly))
	case left < warning:
		d.report("certificate", stateWarn, "it expires on %s", end.Format(time.DateOnly))
	default:
		d.report("certificate", stateOK, "valid until %s", end.Format(time.DateOnly))
	}
}

// What doctor reads in the metrics of the running server.
var (
	metricWithoutCertificate = regexp.MustCompile(`(?m)^sallyport_tls_hosts_without_certificate (.*)$`)
	metricExpiry             = regexp.MustCompile(`(?m)^sallyport_tls_certificate_expiry_timestamp_seconds (.*)$`)
	metricWrongVersion       = regexp.MustCompile(`(?m)^sallyport_jwt_verifications_total\{[^}]*reason="wrong_version"[^}]*\} ([1-9].*)$`)
)

// checkACME reads in the running server's metrics which certificates it obtained.
func (d *doctor) checkACME(ctx context.Context) {
	metrics, err := d.client.readMetrics(ctx)
	if err != nil {
		d.report("certificate", stateUnknown, "the running server's metrics cannot be read: %v", err)
		return
	}
	if m := metricWithoutCertificate.FindStringSubmatch(metrics); m != nil && m[1] != "0" {
		d.report("certificate", stateFail, "%s hosts have none; the server's log says why the authority issues none", m[1])
		return
	}
	if m := metricExpiry.FindStringSubmatch(metrics); m != nil {
		seconds, _ := strconv.ParseFloat(m[1], 64) // the server wrote it
		d.reportExpiry(time.Unix(int64(seconds), 0), acmeExpiryWarning)
		return
	}
	d.unknown("the running server's metrics do not tell when it expires", "certificate")
}

// checkTokenVersion reads in the running server's metrics whether bearer tokens of version 1.0 were rejected.
func (d *doctor) checkTokenVersion(ctx context.Context) {
	switch {
	case d.file == nil:
		d.unknown(withoutConfiguration, "token version")
		return
	case len(d.file.OIDC.APIAudiences) == 0:
		return
	}
	metrics, err := d.client.readMetrics(ctx)
	if err != nil {
		d.report("token version", stateUnknown, "the running server's metrics cannot be read: %v", err)
		return
	}
	if m := metricWrongVersion.FindStringSubmatch(metrics); m != nil {
		d.report("token version", stateFail, "%s bearer tokens of version 1.0 were rejected; set api.requestedAccessTokenVersion to 2 in the manifest of the API's registration", m[1])
		return
	}
	d.report("token version", stateOK, "no bearer token of version 1.0 was rejected")
}
