package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/config"
	"sallyport/oidc"
	"sallyport/policy"
)

// finding is what doctor found out about one thing.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warn or fail
	Detail string `json:"detail"`
}

const (
	ok   = "ok"
	warn = "warn"
	bad  = "fail"
)

// doctor collects findings.
type doctor struct {
	file     *config.File
	operator *operator
	findings []finding
}

func doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check from our side that sign-in and provisioning fit together",
		Long: "Check from our side that sign-in and provisioning fit together: the identity provider's metadata, keys and clock, the tokens,\n" +
			"what was pushed and when, and whether rules name groups that exist. Exits with 2 if something fails.",
		Args: cobra.NoArgs,
	}
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := newOperator(cmd)
		if err != nil {
			return err
		}
		d := &doctor{file: o.file, operator: o}
		d.examine(cmd.Context())
		t := table{heads: []string{"check", "state", "detail"}, values: d.findings}
		for _, f := range d.findings {
			t.rows = append(t.rows, []string{f.Check, f.State, f.Detail})
		}
		if err := show(cmd, t); err != nil {
			return err
		}
		if slices.ContainsFunc(d.findings, func(f finding) bool { return f.State == bad }) {
			return fmt.Errorf("%w: something needs mending", errDenied)
		}
		return nil
	}
	return c
}

func (d *doctor) note(check, state, format string, args ...any) {
	d.findings = append(d.findings, finding{check, state, fmt.Sprintf(format, args...)})
}

func (d *doctor) examine(ctx context.Context) {
	d.checkProvider(ctx)
	d.checkCertificate(ctx)
	d.checkTokens(ctx)
	var f facts
	if err := d.operator.ask(ctx, http.MethodGet, "/facts", nil, &f); err != nil {
		d.note("directory", bad, "%v", err)
		return
	}
	d.checkUsers(f)
	d.checkPushes(f)
	d.checkGroups(ctx, f)
	d.checkTokenVersion(ctx)
}

// checkProvider asks for metadata, keys and the time.
func (d *doctor) checkProvider(ctx context.Context) {
	public, err := url.Parse(d.file.PublicURL)
	if err != nil {
		d.note("discovery", bad, "%v", err)
		return
	}
	p, err := oidc.New(d.file.OIDC, public, slog.New(slog.DiscardHandler))
	if err != nil {
		d.note("discovery", bad, "%v", err)
		return
	}
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	probe, err := p.Probe(ctx)
	if err != nil {
		d.note("discovery", bad, "%v", err)
		return
	}
	d.note("discovery", ok, "%s answers and names itself so", d.file.OIDC.Issuer)
	if probe.Keys == 0 {
		d.note("keys", bad, "the provider publishes no key that we can check signatures with")
	} else {
		d.note("keys", ok, "%d keys", probe.Keys)
	}
	if skew := probe.Skew.Abs(); skew > 30*time.Second {
		d.note("clock", bad, "the provider's clock differs from ours by %s; set the time (NTP), or tokens are refused", skew)
	} else {
		d.note("clock", ok, "within %s of the provider's", max(skew, time.Second))
	}
}

func (d *doctor) checkCertificate(ctx context.Context) {
	switch {
	case d.file.TLS.ACME != nil:
		d.checkOrders(ctx)
		return
	case d.file.TLS.CertFile == "":
		return
	}
	pair, err := tls.LoadX509KeyPair(d.file.TLS.CertFile, d.file.TLS.KeyFile)
	if err != nil {
		d.note("certificate", bad, "%v", err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		d.note("certificate", bad, "%v", err)
		return
	}
	d.judgeExpiry(leaf.NotAfter, 14*24*time.Hour)
}

func (d *doctor) judgeExpiry(end time.Time, soon time.Duration) {
	switch left := time.Until(end); {
	case left <= 0:
		d.note("certificate", bad, "it expired on %s", end.Format(time.DateOnly))
	case left < soon:
		d.note("certificate", warn, "it expires on %s", end.Format(time.DateOnly))
	default:
		d.note("certificate", ok, "valid until %s", end.Format(time.DateOnly))
	}
}

var (
	withoutCertificate = regexp.MustCompile(`(?m)^sallyport_tls_hosts_without_certificate (.*)$`)
	firstExpiry        = regexp.MustCompile(`(?m)^sallyport_tls_certificate_expiry_timestamp_seconds (.*)$`)
)

// checkOrders asks the running server what the ACME authority has given it.
func (d *doctor) checkOrders(ctx context.Context) {
	metrics, err := readMetrics(ctx, d.file.Listen.Ops)
	if err != nil {
		d.note("certificate", warn, "the running server's metrics cannot be read: %v", err)
		return
	}
	if m := withoutCertificate.FindStringSubmatch(metrics); m != nil && m[1] != "0" {
		d.note("certificate", bad, "%s hosts have none; the server's log says why the authority gives them none", m[1])
		return
	}
	if m := firstExpiry.FindStringSubmatch(metrics); m != nil {
		seconds, _ := strconv.ParseFloat(m[1], 64) // as it was written
		d.judgeExpiry(time.Unix(int64(seconds), 0), 7*24*time.Hour)
	}
}

func (d *doctor) checkTokens(ctx context.Context) {
	var tokens []tokenView
	if err := d.operator.ask(ctx, http.MethodGet, "/tokens", nil, &tokens); err != nil {
		d.note("tokens", bad, "%v", err)
		return
	}
	live, soon := 0, ""
	for _, t := range tokens {
		if t.Expires != nil && time.Until(*t.Expires) <= 0 {
			continue
		}
		live++
		if t.Expires != nil && time.Until(*t.Expires) < 30*24*time.Hour && t.Issued == "" {
			soon = fmt.Sprintf("%s expires on %s", t.Name, t.Expires.Format(time.DateOnly))
		}
	}
	switch {
	case live == 0 && d.file.SCIM.OAuth == nil:
		d.note("tokens", bad, "no token lets an identity provider push; make one with `sallyport token create entra`")
	case soon != "":
		d.note("tokens", warn, "%s; replace it without a gap with `sallyport token rotate`", soon)
	default:
		d.note("tokens", ok, "%d live", live)
	}
}

// checkUsers judges the join between sign-in and provisioning.
func (d *doctor) checkUsers(f facts) {
	if f.Users == 0 {
		d.note("users", bad, "nobody was pushed yet; assign users and groups to the provisioning application and start it")
		return
	}
	d.note("users", ok, "%d, of whom %d are active", f.Users, f.Active)
	if d.file.OIDC.UserAttribute != "externalId" {
		return
	}
	if d.file.OIDC.UserClaim == "oid" {
		share := 100 * f.GUIDs / f.Users
		state := ok
		if share < 90 {
			state = bad
		} else if share < 100 {
			state = warn
		}
		d.note("externalId", state, "%d%% are object IDs (GUIDs), which users are joined by%s", share,
			unless(state == ok, "; map externalId to objectId in the provisioning application, then restart provisioning"))
	} else if f.WithoutExternalID > 0 {
		d.note("externalId", warn, "%d users have none and cannot sign in", f.WithoutExternalID)
	}
	if f.Shared > 0 {
		d.note("externalId shared", warn, "%d users have one that another has too; none of them can sign in", f.Shared)
	}
}

func unless(fine bool, text string) string {
	if fine {
		return ""
	}
	return text
}

func (d *doctor) checkPushes(f facts) {
	switch {
	case f.LastPush == nil:
		d.note("last push", bad, "the identity provider has not asked for anything yet")
	case time.Since(*f.LastPush) > 24*time.Hour:
		d.note("last push", warn, "%s ago; Entra comes about every 40 minutes when there is something to tell: is provisioning paused or in quarantine?", time.Since(*f.LastPush).Round(time.Hour))
	default:
		d.note("last push", ok, "%s ago", time.Since(*f.LastPush).Round(time.Second))
	}
	if f.Refused > 0 {
		d.note("refused pushes", warn, "%d of the latest %d; `sallyport scim log --refused` says why", f.Refused, f.Exchanges)
	}
	if f.Held > 0 {
		d.note("held", warn, "%d deactivations wait for a human; `sallyport scim held list`", f.Held)
	}
}

// checkGroups: rules name groups that exist and have members, none of them groups.
func (d *doctor) checkGroups(ctx context.Context, f facts) {
	var groups []groupView
	if err := d.operator.ask(ctx, http.MethodGet, "/groups", nil, &groups); err != nil {
		d.note("groups", bad, "%v", err)
		return
	}
	var missing, empty []string
	for _, named := range d.namedGroups() {
		i := slices.IndexFunc(groups, func(g groupView) bool {
			return named.ID != "" && g.ExternalID == named.ID || named.ID == "" && g.Name == named.Name
		})
		switch label := strings.TrimSpace(named.ID + " " + named.Name); {
		case i < 0:
			missing = append(missing, label)
		case groups[i].Members == 0:
			empty = append(empty, label)
		}
	}
	switch {
	case len(missing) > 0:
		d.note("groups in rules", warn, "never pushed, so the rules that name them match nobody: %s", strings.Join(missing, ", "))
	case len(empty) > 0:
		d.note("groups in rules", warn, "without members: %s (are the people in nested groups?)", strings.Join(empty, ", "))
	default:
		d.note("groups in rules", ok, "%d groups pushed; all that rules name are among them", len(groups))
	}
	if len(f.Nested) > 0 {
		d.note("nested groups", warn, "%s: members of the groups within them are not members here, and Entra does not push them; assign those groups themselves", strings.Join(f.Nested[:min(5, len(f.Nested))], ", "))
	}
}

// namedGroups are the groups that rules name, each once.
func (d *doctor) namedGroups() (named []policy.GroupRef) {
	for _, p := range d.file.Policies {
		for _, r := range p.Rules {
			for _, m := range []*policy.Match{r.Allow, r.Deny} {
				if m == nil {
					continue
				}
				for _, g := range slices.Concat(m.Groups, m.UnlessGroups) {
					if !slices.Contains(named, g) {
						named = append(named, g)
					}
				}
			}
		}
	}
	return named
}

var wrongVersion = regexp.MustCompile(`(?m)^sallyport_jwt_verifications_total\{[^}]*reason="wrong_version"[^}]*\} ([1-9].*)$`)

// checkTokenVersion asks the running server whether v1.0 tokens came.
func (d *doctor) checkTokenVersion(ctx context.Context) {
	if len(d.file.OIDC.APIAudiences) == 0 {
		return
	}
	metrics, err := readMetrics(ctx, d.file.Listen.Ops)
	if err != nil {
		d.note("token version", warn, "the running server's metrics cannot be read: %v", err)
		return
	}
	if m := wrongVersion.FindStringSubmatch(metrics); m != nil {
		d.note("token version", bad, "%s bearer tokens of version 1.0 came and were refused; set api.requestedAccessTokenVersion to 2 in the manifest of the API's registration", m[1])
		return
	}
	d.note("token version", ok, "no bearer token of version 1.0 came")
}
