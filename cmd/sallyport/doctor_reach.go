package main

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// scimAddress is where the identity provider pushes, as far as it is known.
type scimAddress struct {
	url     string
	guessed bool // from public_url and listen.scim: it may be another, which says nothing bad
}

// scimOutside returns the SCIM address as it is seen from outside; "" if not even a guess is possible. No key of the
// configuration names it, but with scim.on_public it is on the host of public_url.
func (d *doctor) scimOutside() scimAddress {
	public, err := url.Parse(d.file.PublicURL)
	_, port, _ := net.SplitHostPort(d.file.Listen.SCIM)
	switch {
	case d.scimURL != "":
		return scimAddress{d.scimURL, false}
	case err != nil || public.Host == "":
		return scimAddress{}
	case d.file.SCIM.OnPublic:
		return scimAddress{public.JoinPath("/scim/v2").String(), public.Scheme != "https"}
	case d.file.TLS.Off: // behind a front proxy
		return scimAddress{"https://" + public.Hostname() + "/scim/v2", true}
	case port == "" || port == "0":
		return scimAddress{}
	}
	return scimAddress{"https://" + net.JoinHostPort(public.Hostname(), port) + "/scim/v2", true}
}

const sayAddress = "run `sallyport doctor --scim-url URL` with the address that the identity provider has"

// checkSCIMAddress reports whether the SCIM address resolves, has a certificate that is valid for it, and leads to this server.
// It is tried from this machine, so that what others see may differ.
func (d *doctor) checkSCIMAddress(ctx context.Context) {
	const check = "SCIM address"
	if d.file == nil && d.scimURL == "" {
		d.unknown(withoutConfiguration, correctIt, check)
		return
	}
	address := scimAddress{d.scimURL, false}
	if d.file != nil {
		address = d.scimOutside()
	}
	if address.url == "" {
		d.unknown("no key of the configuration names it", sayAddress, check)
		return
	}
	var pair reachPair
	if err := d.client.call(ctx, http.MethodPost, "/reach", nil, &pair); err != nil {
		d.callFailed(check, startServer, err)
		return
	}
	end, err := tryReach(ctx, address.url, pair)
	d.judgeReach(address, end, err)
}

// Why an address does not lead to this server.
var (
	errNotReached = errors.New("what responds there is not this server, or something on the way removes its headers")
	errNoTLS      = errors.New("the identity provider would send its token in the clear")
)

// judgeReach reports what came of a request to an address. end is when the certificate there ends.
func (d *doctor) judgeReach(address scimAddress, end time.Time, err error) {
	const check = "SCIM address"
	var ofCertificate *tls.CertificateVerificationError
	var ofName *net.DNSError
	state, fix := stateWarn, "check the address, the firewall and the front proxy"
	switch {
	case err == nil && time.Until(end) < expiryWarning:
		d.report(check, stateWarn, "replace it where TLS ends", "%s leads to this server, and its certificate expires on %s", address.url, end.Format(time.DateOnly))
		return
	case err == nil:
		d.pass(check, "%s resolves, has a valid certificate until %s, and leads to this server, seen from this machine", address.url, end.Format(time.DateOnly))
		return
	case address.guessed:
		d.report(check, stateUnknown, sayAddress, "no key of the configuration names it; the best guess, %s, did not lead to this server: %v", address.url, err)
		return
	case errors.As(err, &ofCertificate):
		fix = "put a certificate there that is for this name, of an authority that the identity provider trusts, with its whole chain"
		if ofAuthority := (x509.UnknownAuthorityError{}); !errors.As(err, &ofAuthority) {
			state = stateFail
		}
	case errors.As(err, &ofName):
		fix = "correct the name, or its entry in DNS"
	case errors.Is(err, errNoTLS):
		fix = "give the identity provider an https address"
	}
	d.report(check, state, fix, "%s, tried from this machine: %v", address.url, err)
}

// checkSCIMURL returns an error if an address cannot be one of SCIM. It never quotes the address, which may have a password.
func checkSCIMURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("--scim-url is no URL; write one such as https://scim.example.com:8444/scim/v2")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("--scim-url has a user, a query or a fragment; write one such as https://scim.example.com:8444/scim/v2")
	case !isSCIM(u.Path):
		return errors.New("--scim-url does not end in /scim/v2; write one such as https://scim.example.com:8444/scim/v2")
	}
	return nil
}

// reachTimeout bounds one request to the outside address.
const reachTimeout = 10 * time.Second

// tryReach sends a request without a token to the address, and returns when the certificate there ends. The error is nil only
// if the response has what this server alone knows.
func tryReach(ctx context.Context, address string, pair reachPair) (end time.Time, err error) {
	if !strings.HasPrefix(address, "https://") {
		return end, errNoTLS
	}
	ctx, stop := context.WithTimeout(ctx, reachTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/ServiceProviderConfig", nil)
	if err != nil {
		return end, err
	}
	req.Header.Set(reachHeader, pair.Request)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req) // which follows no redirect
	if err != nil {
		return end, err
	}
	defer resp.Body.Close()
	if subtle.ConstantTimeCompare([]byte(resp.Header.Get(reachedHeader)), []byte(pair.Response)) != 1 || pair.Response == "" {
		return end, fmt.Errorf("%w (it responds with %d)", errNotReached, resp.StatusCode)
	}
	end = resp.TLS.PeerCertificates[0].NotAfter // the scheme is https
	return end, nil
}
