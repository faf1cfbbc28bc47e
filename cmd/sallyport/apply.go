package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit"
	"sallyport/config"
	"sallyport/oidc"
	"sallyport/proxy"
	"sallyport/scim"
)

// prepareTimeout is how long a reload waits for issuers that the configuration did not name before.
const prepareTimeout = 20 * time.Second

// apply puts a newly loaded configuration in force, all of it or nothing. First every part prepares what it needs, which may
// fail and changes nothing. Then every part uses that, which cannot fail: the proxy after what it decides by, so that it decides
// about live requests again when that is in force; the listeners last, so that new ones serve by the new settings.
func (s *server) apply(ctx context.Context, file *config.File) error {
	ctx, stop := context.WithTimeout(ctx, prepareTimeout)
	defer stop()
	var uses []func()
	for _, prepare := range []func(context.Context, *config.File) (use func(), err error){
		s.prepareTests, s.prepareWebhooks, s.prepareSinks, s.prepareSCIM, s.prepareOthers, s.prepareProxy, s.prepareListeners,
	} {
		use, err := prepare(ctx, file)
		if err != nil {
			return err
		}
		uses = append(uses, use)
	}
	for _, use := range uses {
		use()
	}
	s.warn(file)
	return nil
}

// prepareTests returns an error if the rules fail their tests.
func (s *server) prepareTests(_ context.Context, file *config.File) (use func(), err error) {
	return func() {}, s.checkTests(file)
}

func (s *server) prepareWebhooks(_ context.Context, file *config.File) (use func(), err error) {
	endpoints, err := s.components.webhooks.Open(file.Webhooks)
	return func() { s.components.webhooks.Use(endpoints) }, err
}

func (s *server) prepareSinks(_ context.Context, file *config.File) (use func(), err error) {
	return s.components.sinks.Prepare(file.Audit.Sinks)
}

// prepareSCIM makes the SCIM server by other settings, and fetches the keys of an authorization server that is new.
func (s *server) prepareSCIM(ctx context.Context, file *config.File) (use func(), err error) {
	former, _ := s.workloads.now().(*oidc.Workloads)
	workloads, err := s.workloadsOf(file.SCIM.OAuth, former)
	if err == nil && workloads != nil {
		err = workloads.Prepare(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("scim.oauth: %w", err)
	}
	if workloads == nil {
		next := s.scim.Load().With(file.SCIM, nil)
		return func() { s.scim.Store(next); s.workloads.Put(nil) }, nil
	}
	next := s.scim.Load().With(file.SCIM, workloads)
	return func() { s.scim.Store(next); s.workloads.Put(workloads) }, nil
}

// workloadsOf returns what verifies the tokens of scim.oauth, or nil without it. Former is what did so before; nil if nothing
// did.
func (s *server) workloadsOf(o *scim.OAuth, former *oidc.Workloads) (w *oidc.Workloads, err error) {
	if o == nil {
		return nil, nil
	}
	settings := oidc.WorkloadSettings{Issuer: o.Issuer, Audiences: o.Audiences, ClientIDs: o.ClientIDs, CAFile: o.CAFile}
	if former != nil {
		return former.With(settings)
	}
	if w, err = oidc.NewWorkloads(settings, s.log); err == nil {
		w.KeepKeys(keyStore{s.components.store})
	}
	return w, err
}

// prepareOthers is for settings that need no preparation.
func (s *server) prepareOthers(_ context.Context, file *config.File) (use func(), err error) {
	limits := file.Limits.Listen
	return func() {
		if limits != s.inForce.Load().Limits.Listen {
			total := s.maxConnections(limits)
			s.connections.public.Limit(total, limits.PerAddress(total))
		}
		s.components.directory.KeepHistory(file.History)
		s.components.configureRecord(file.Audit.Settings)
		if h, ok := s.log.Handler().(*logHandler); ok {
			h.settings.use(file.Log)
		}
	}, nil
}

// prepareProxy prepares the proxy with its identity provider. Sessions are judged by what that one vouches for.
func (s *server) prepareProxy(ctx context.Context, file *config.File) (use func(), err error) {
	publicURL, err := url.Parse(file.PublicURL)
	if err != nil {
		return nil, err
	}
	settings := file.OIDC
	if settings.UserAttribute != s.file.OIDC.UserAttribute { // the directory is indexed by the one of the start
		settings = s.inForce.Load().OIDC
	}
	provider, err := s.proxy.Provider().With(settings, publicURL)
	if err != nil {
		return nil, err
	}
	load, err := s.proxy.Prepare(file.Proxy(), provider)
	if err != nil {
		return nil, err
	}
	if err := provider.Prepare(ctx); err != nil {
		return nil, fmt.Errorf("oidc: an issuer that is new has to be reached before it is used: %w", err)
	}
	inForce := *file
	inForce.OIDC = settings
	return func() {
		s.inForce.Store(&inForce)
		s.components.sessions.Configure(file.Session, provider.Basis())
		s.provider.Put(provider)
		load()
	}, nil
}

// configureRecord puts in force how the files of the audit record are kept, and what becomes of requests that it lacks.
func (c *components) configureRecord(a audit.Settings) {
	c.record.Rotate(a.Rotate, func(err error) { c.log.Error("the files of the audit record are not as they should be", "err", err) })
	if a.OnFailure == audit.Allow {
		c.record.AllowUnrecorded(c.logUnrecorded)
	} else {
		c.record.DenyUnrecorded()
	}
}

// warn logs what the file allows but may not mean, such as rules that end soon.
func (s *server) warn(file *config.File) {
	file.Warn(func(path, _, problem string) {
		s.log.Warn("the configuration may not say what is meant; `sallyport validate` has the line", "key", path, "problem", problem)
	})
}

// checkTests returns an error that names the tests in file that its rules fail.
func (s *server) checkTests(file *config.File) error {
	compiled, err := proxy.CompileRules(file.Proxy())
	if err != nil {
		return err
	}
	results := s.admin.RunTests(context.Background(), admin.System("reload"), rulesOf(compiled), file.Tests)
	if failed := access.Failed(results); len(failed) > 0 {
		return &failedTests{failed, len(results)}
	}
	return nil
}

// failedTests are the tests in a file that its rules fail.
type failedTests struct {
	failed []access.Result
	of     int
}

func (e *failedTests) Error() string {
	lines := []string{fmt.Sprintf("%d of %d tests in the file fail; `sallyport test` runs them:", len(e.failed), e.of)}
	for _, r := range e.failed {
		lines = append(lines, fmt.Sprintf("%s: want %s, got %s", r.Case, r.Want, r.Got))
	}
	return strings.Join(lines, "\n")
}
