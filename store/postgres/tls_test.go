package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: name}}}
	a.pem, a.key = sign(t, a.cert, nil)
	return a
}

// issue returns a certificate for a name or address, and its key, as PEM.
func (a *authority) issue(t testing.TB, name string, valid time.Duration) (cert, key string) {
	t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(valid), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{name}
	}
	cert, private := sign(t, c, a)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// sign makes a certificate by an authority; nil: by itself.
func sign(t testing.TB, c *x509.Certificate, by *authority) (text string, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-48*time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		*c = *parsed
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), key
}

// secured is a server that wants TLS, and of one user a password, of another one a certificate.
type secured struct {
	*postgrestest.Server
	database string
	reloads  int
}

const password, laterPassword = "hunter2-before", "hunter2-after"

func startSecured(t testing.TB) *secured {
	t.Helper()
	s := &secured{Server: postgrestest.Start(t, "ssl_cert_file=server.crt", "ssl_key_file=server.key", "ssl_ca_file=clients.crt", "password_encryption=scram-sha-256")}
	url := s.Database()
	s.database = url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	s.SQL("CREATE ROLE by_password LOGIN SUPERUSER PASSWORD '" + password + "'")
	s.SQL("CREATE ROLE by_certificate LOGIN SUPERUSER")
	s.SetFile("pg_hba.conf", "local all all trust\nhostssl all by_password 127.0.0.1/32 scram-sha-256\nhostssl all by_certificate 127.0.0.1/32 cert\n")
	return s
}

// present has the server present a certificate, and accept those of clients by an authority.
func (s *secured) present(cert, key, clients string) {
	s.SetFile("server.crt", cert)
	s.SetFile("server.key", key)
	s.SetFile("clients.crt", clients)
	s.reload("on")
}

// reload has the server read its files again, with TLS on or off.
func (s *secured) reload(tls string) {
	s.reloads++
	mark := fmt.Sprintf("%d ", s.reloads)
	s.SQL("ALTER SYSTEM SET ssl = " + tls)
	s.SQL("ALTER SYSTEM SET log_line_prefix = '" + mark + "'")
	s.SQL("SELECT pg_reload_conf()")
	for s.SQL("SHOW log_line_prefix")+" " != mark {
	}
}

// cutAll ends all connections.
func (s *secured) cutAll() {
	s.SQL("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'sallyport'")
}

// write replaces a file.
func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestTLS_RotatesUnderUse replaces the certificates of the server and of the client, their authorities and the password
// while stores are written to, and ends their connections: they go on.
func TestTLS_RotatesUnderUse(t *testing.T) {
	t.Parallel()
	server, folder := startSecured(t), t.TempDir()
	file := func(name string) string { return filepath.Join(folder, name) }
	rotate := func() {
		servers, clients := newAuthority(t, "servers"), newAuthority(t, "clients")
		cert, key := clients.issue(t, "by_certificate", time.Hour)
		write(t, file("servers.crt"), servers.pem)
		write(t, file("client.crt"), cert)
		write(t, file("client.key"), key)
		cert, key = servers.issue(t, "127.0.0.1", time.Hour)
		server.present(cert, key, clients.pem)
	}
	setPassword := func(text string) {
		server.SQL("ALTER ROLE by_password PASSWORD '" + text + "'")
		write(t, file("url"), fmt.Sprintf("postgres://by_password:%s@%s/%s?sslmode=verify-full&sslrootcert=%s", text, server.Address(), server.database, file("servers.crt")))
		write(t, file("pgpass"), fmt.Sprintf("127.0.0.1:*:*:by_password:%s\n", text))
	}
	rotate()
	setPassword(password)
	urls := []string{file("url"), file("passfile-url"), file("cert-url")}
	write(t, urls[1], fmt.Sprintf("postgres://by_password@%s/%s?sslmode=verify-full&sslrootcert=%s&passfile=%s", server.Address(), server.database, file("servers.crt"), file("pgpass")))
	write(t, urls[2], fmt.Sprintf("postgres://by_certificate@%s/%s?sslmode=verify-full&sslrootcert=%s&sslcert=%s&sslkey=%s", server.Address(), server.database, file("servers.crt"), file("client.crt"), file("client.key")))

	log := &lines{}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	var stores []*postgres.Store
	for i, url := range urls {
		s, err := postgres.Open(t.Context(), postgres.Options{URLFile: url, Init: true, Replica: fmt.Sprint(i), Lease: shortLease, Log: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		stores = append(stores, s)
		running.Go(func() { _ = s.Run(ctx) })
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				put(t, s, fmt.Sprintf("%d/%d", i, n%10), "x") // which must not fail
				time.Sleep(5 * time.Millisecond)              // how often changes come
			}
		})
	}
	for range trials(2) {
		rotate()
		server.cutAll()
		for _, s := range stores {
			put(t, s, "k", "with other certificates")
		}
		setPassword(laterPassword)
		server.cutAll()
		for _, s := range stores {
			put(t, s, "k", "with another password")
		}
		awaitSQL(t, server.Server, "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN sallyport'", fmt.Sprint(len(stores)))
		setPassword(password)
	}
	if text := log.String(); strings.Contains(text, "hunter2") {
		t.Errorf("the log has a password: %s", text)
	}
}

// lines is a log in memory.
type lines struct {
	mu   sync.Mutex // guards the field below
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestTLS_RefusesWhatIsNotProven demands that each error says what to do, and shows no password.
func TestTLS_RefusesWhatIsNotProven(t *testing.T) {
	t.Parallel()
	server, folder := startSecured(t), t.TempDir()
	servers, clients := newAuthority(t, "servers"), newAuthority(t, "clients")
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		write(t, path, content)
		return path
	}
	roots := "&sslrootcert=" + file("servers.crt", servers.pem)
	good, goodKey := servers.issue(t, "127.0.0.1", time.Hour)
	other, otherKey := servers.issue(t, "db.example.com", time.Hour)
	old, oldKey := servers.issue(t, "127.0.0.1", -time.Hour)
	client := func(name string, issuer *authority, user string, valid time.Duration) string {
		cert, key := issuer.issue(t, user, valid)
		return "&sslcert=" + file(name+".crt", cert) + "&sslkey=" + file(name+".key", key)
	}
	for name, test := range map[string]struct {
		cert, key, user, parameters, want string
	}{
		"another host":                       {other, otherKey, "by_password:hunter2-before", "sslmode=verify-full" + roots, "for another host"},
		"expired":                            {old, oldKey, "by_password:hunter2-before", "sslmode=verify-full" + roots, "renew the certificate of the database"},
		"an unknown authority":               {good, goodKey, "by_password:hunter2-before", "sslmode=verify-full", "sslrootcert=FILE"},
		"the authority of others":            {good, goodKey, "by_password:hunter2-before", "sslmode=verify-full&sslrootcert=" + file("clients.crt", clients.pem), "sslrootcert=FILE"},
		"plain text":                         {"", "", "by_password:hunter2-before", "sslmode=verify-full" + roots, "ssl = on"},
		"a wrong password":                   {good, goodKey, "by_password:hunter2-wrong", "sslmode=verify-full" + roots, "check the user, the password"},
		"no certificate of the client":       {good, goodKey, "by_certificate", "sslmode=verify-full" + roots, "client certificate"},
		"a certificate of another client":    {good, goodKey, "by_certificate", "sslmode=verify-full" + roots + client("other", clients, "other", time.Hour), "client certificate"},
		"an expired certificate of a client": {good, goodKey, "by_certificate", "sslmode=verify-full" + roots + client("old", clients, "by_certificate", -time.Hour), "sslcert and sslkey"},
		"an unknown client":                  {good, goodKey, "by_certificate", "sslmode=verify-full" + roots + client("unknown", servers, "by_certificate", time.Hour), "client certificate"},
		"without TLS":                        {good, goodKey, "by_password:hunter2-before", "sslmode=disable", "pg_hba.conf"},
		"a missing file":                     {good, goodKey, "by_password:hunter2-before", "sslmode=verify-full&sslrootcert=/missing/ca.crt", "/missing/ca.crt: no such file"},
		"an unknown mode":                    {good, goodKey, "by_password:hunter2-before", "sslmode=full", "sslmode is invalid"},
	} {
		if test.cert == "" {
			server.reload("off")
		} else {
			server.present(test.cert, test.key, clients.pem)
		}
		url := fmt.Sprintf("postgres://%s@%s/%s?%s", test.user, server.Address(), server.database, test.parameters)
		_, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, url), Init: true, Replica: "a"})
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s gives %v, want %q", name, err, test.want)
		}
		_, err = postgres.TakeHold(t.Context(), urlFile(t, url), postgres.ToRead)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a hold with %s gives %v", name, err)
		}
	}
	server.present(good, goodKey, clients.pem)
	url := fmt.Sprintf("postgres://by_password:%s@%s/%s?sslmode=verify-full%s", password, server.Address(), server.database, roots)
	if revision := put(t, open(t, url), "k", "1"); revision != store.Revision(1) {
		t.Errorf("with everything right there is revision %d", revision)
	}
}
