package webhook

import (
	"context"
	"net"
	"time"
)

// The bounds that tests demand.
const (
	MaxQueue    = maxQueue
	MaxAttempts = maxAttempts
	MaxBackoff  = maxBackoff
	StopTime    = stopTime
	Timeout     = attemptTimeout
)

// SetDial has s connect by dial.
func (s *Sender) SetDial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	s.dial = dial
}

// Sign signs with the secrets in the file at path.
func Sign(path, id, at string, body []byte) (string, error) {
	secrets, err := readSecrets(path)
	if err != nil {
		return "", err
	}
	return sign(secrets, id, at, body), nil
}

// Backoff is backoff.
func Backoff(attempts int) time.Duration { return backoff(attempts) }

// Printed returns a secret, and settings that were opened, for tests that print them.
func Printed(s *Sender, all []Settings) (one, opened any, err error) {
	endpoints, err := s.Open(all)
	if err != nil {
		return nil, nil, err
	}
	return endpoints.all[0].secrets[0], endpoints, nil
}
