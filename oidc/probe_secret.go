package oidc

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// ErrWrongSecret means that the provider does not accept the client with its secret.
var ErrWrongSecret = errors.New("the provider does not accept the client secret")

// ProbeSecret asks the token endpoint for tokens with a code that was made up. It returns nil if the provider rejects the
// code alone with our secret, and the client with a secret that was made up too (RFC 6749 §5.2). Any error other than
// [ErrWrongSecret] means that it could not be found out.
func (p *Provider) ProbeSecret(ctx context.Context) error {
	m, err := p.discover(ctx)
	if err != nil {
		return err
	}
	ctx = gooidc.ClientContext(ctx, p.client)
	switch code, err := probeCode(ctx, *p.oauth(m)); {
	case err != nil:
		return err
	case code != invalidGrant:
		return fmt.Errorf("the token endpoint responds with %s to a code that was made up", quoted(code))
	}
	made := *p.oauth(m)
	made.ClientSecret = oauth2.GenerateVerifier()
	switch code, err := probeCode(ctx, made); {
	case errors.Is(err, ErrWrongSecret):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("the token endpoint responds with %s whatever the secret is", quoted(code))
	}
}

const invalidGrant = "invalid_grant"

// entraCode is the number of an error of Entra. Nothing else of a description is quoted: it may repeat secrets.
var entraCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bAADSTS[0-9]{3,12}\b`) })

// probeCode returns the error code with which the token endpoint rejects a code that was made up.
func probeCode(ctx context.Context, config oauth2.Config) (code string, err error) {
	_, err = config.Exchange(ctx, "sallyport-doctor-"+oauth2.GenerateVerifier(), oauth2.VerifierOption(oauth2.GenerateVerifier()))
	var rejected *oauth2.RetrieveError
	switch {
	case err == nil:
		return "", errors.New("the token endpoint accepts a code that was made up")
	case !errors.As(err, &rejected):
		return "", exchangeError(err)
	case rejected.ErrorCode == "invalid_client" || rejected.ErrorCode == "unauthorized_client":
		return "", fmt.Errorf("%w: %s %s", ErrWrongSecret, rejected.ErrorCode, entraCode().FindString(rejected.ErrorDescription))
	case rejected.ErrorCode == "":
		return "", exchangeError(err)
	}
	return rejected.ErrorCode, nil
}
