package oidc_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"sallyport/entratest"
	"sallyport/oidc"
)

// Verify bearer tokens. A *Refusal says why a token is invalid; any other error
// means that it could not be checked, for example because the provider is down.
func ExampleProvider_Bearer() {
	dir, err := os.MkdirTemp("", "oidc")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	tenant, settings, stop := exampleTenant(dir)
	defer stop()

	provider, err := oidc.New(settings, &url.URL{Scheme: "https", Host: "login.example.com"}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { _ = provider.Run(ctx) }() // discovers the provider and keeps its keys fresh

	alice := tenant.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice"})
	identity, err := provider.Bearer(ctx, tenant.AccessToken(alice, "api://sallyport", nil))
	fmt.Println(identity.Key == alice.OID, err)

	_, err = provider.Bearer(ctx, tenant.AccessToken(alice, "api://other", nil))
	if refusal, ok := errors.AsType[*oidc.Refusal](err); ok {
		fmt.Println(refusal.Reason)
	}
	// Output:
	// true <nil>
	// wrong_audience
}

// exampleTenant serves a test tenant over TLS and returns settings for it.
func exampleTenant(dir string) (*entratest.Tenant, oidc.Settings, func()) {
	server := httptest.NewUnstartedServer(nil)
	tenant := entratest.NewSharingKey("https://"+server.Listener.Addr().String(), entratest.App{ClientID: "client", Secret: "a secret"})
	server.Config.Handler = tenant
	server.StartTLS()
	settings := oidc.Defaults()
	settings.Issuer, settings.ClientID, settings.APIAudiences = tenant.Issuer(), tenant.ClientID(), []string{"api://sallyport"}
	settings.ClientSecretFile, settings.CAFile = filepath.Join(dir, "secret"), filepath.Join(dir, "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := errors.Join(os.WriteFile(settings.ClientSecretFile, []byte("a secret"), 0o600), os.WriteFile(settings.CAFile, ca, 0o600)); err != nil {
		panic(err)
	}
	return tenant, settings, server.Close
}
