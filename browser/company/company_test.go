package company

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/config"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/proxy"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store/bolt"
)

var (
	out       = flag.String("out", "", "the folder that the company is made in; none: a small one is made and thrown away")
	people    = flag.Int("people", 5000, "how many people there are")
	days      = flag.Int("days", 14, "how many days are made up")
	further   = flag.Int("groups", 0, "how many groups there are beside the usual ones")
	decisions = flag.Int("decisions", 8000, "how many requests there are on a working day")
)

// afternoon is when the days end by the clock in the office: whatever time it is now, the same is made up.
var afternoon = time.Date(2026, time.November, 26, 15, 0, 0, 0, time.UTC)

// company is a company that is made.
type company struct {
	t   *testing.T
	ctx context.Context
	dir string

	directory    *directory.Directory
	sessions     *session.Sessions
	provisioning *scim.Provisioning
	server       *scim.Server
	grants       *grant.Grants
	record       *audit.Log
	admin        *admin.Admin
	rules        *proxy.Rules
	rand         *rand.Rand
	ahead        time.Duration // of the clock in the office
	token        string

	staff   []*person // everybody who has been here
	groups  map[string]string
	members map[string][]*person // by the name of the group
}

// person is somebody of the company.
type person struct {
	id, userName, name, externalID string
	groups                         []string
	gone                           bool
}

// TestCompany makes a company, and checks that a server could go on with it.
func TestCompany(t *testing.T) {
	dir := *out
	if dir == "" {
		dir, *people, *days, *decisions = t.TempDir(), 200, 3, 100
	}
	ended := time.Now().Add(-time.Hour) // of the days; what is open at the end takes most of an hour
	begun := ended.Add(-time.Duration(*days) * 24 * time.Hour)
	synctest.Test(t, func(t *testing.T) {
		c := &company{t: t, dir: dir, rand: rand.New(rand.NewPCG(1, 2)), ahead: afternoon.Sub(ended), groups: map[string]string{}, members: map[string][]*person{}}
		time.Sleep(time.Until(begun.Add(-2 * admin.StaleAfter))) // before anything runs that wakes up
		stop := c.open()
		c.forget()
		stop()
		time.Sleep(time.Until(begun))
		defer c.open()()
		c.found()
		for time.Until(ended) > 0 {
			c.hour(min(time.Hour, time.Until(ended)))
		}
		c.today()
		synctest.Wait()
	})
	record, err := audit.OpenRecord(filepath.Join(dir, "data/audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	checked, err := record.Verify(audit.Trust{})
	if err != nil || checked.Lines < *decisions {
		t.Errorf("the record: %+v, %v", checked, err)
	}
}

// open opens a new store and a new record, and starts what keeps them.
func (c *company) open() (stop func()) {
	c.must(os.MkdirAll(filepath.Join(c.dir, "data"), 0o700))
	c.must(os.MkdirAll(filepath.Join(c.dir, "secrets"), 0o700))
	c.must(os.WriteFile(filepath.Join(c.dir, "sallyport.template.yaml"), []byte(c.config()), 0o600))
	st, err := bolt.Open(filepath.Join(c.dir, "data/sallyport.db"), bolt.Options{Init: true})
	c.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	c.ctx = ctx
	quiet := slog.New(slog.DiscardHandler)
	c.directory, err = directory.Open(ctx, st, "externalId")
	c.must(err)
	c.directory.KeepHistory(directory.Retention(400 * 24 * time.Hour))
	c.sessions, err = session.Open(ctx, st, session.Settings{Lifetime: 12 * time.Hour, Idle: time.Hour}, quiet)
	c.must(err)
	c.grants, err = grant.Open(ctx, st)
	c.must(err)
	c.provisioning, err = scim.Open(ctx, st, c.directory)
	c.must(err)
	c.record, err = audit.Open(filepath.Join(c.dir, "data/audit.jsonl"))
	c.must(err)
	c.server = scim.New(scim.Parts{Provisioning: c.provisioning, Settings: scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 5, Per: 10 * time.Minute}}, Log: quiet})
	settings := c.load().Settings
	c.rules, err = proxy.CompileRules(settings)
	c.must(err)
	c.admin = admin.New(admin.Parts{Directory: c.directory, Sessions: c.sessions, Provisioning: c.provisioning, Grants: c.grants, Audit: c.record,
		Rules: func() admin.Rules { return admin.Rules{Policies: settings.Policies, Routes: c.rules.Routes()} }, PublicURL: func() string { return settings.PublicURL }})
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{st.Run, c.directory.Run, c.sessions.Run, c.grants.Run, c.provisioning.Run, c.server.Run, c.record.Run, c.recordChanges} {
		running.Go(func() { _ = run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
		c.must(c.record.Close())
		c.must(st.Close())
	}
}

// load reads the configuration of the company.
func (c *company) load() *config.File {
	c.must(os.WriteFile(filepath.Join(c.dir, "secrets/oidc"), []byte("a secret between two programs of a test"), 0o600))
	filled := strings.NewReplacer("PORT", "8080", "PUBLIC", "127.0.0.1:8080", "SCIM", "127.0.0.1:8081", "OPS", "127.0.0.1:8082", "UPSTREAM", "http://127.0.0.1:9",
		"ISSUER", "http://127.0.0.1:9", "CLIENT", "sallyport").Replace(c.config())
	path := filepath.Join(c.dir, "sallyport.yaml")
	c.must(os.WriteFile(path, []byte(filled), 0o600))
	file, err := config.ValidateWithoutFiles(path)
	c.must(err)
	return file
}

// recordChanges writes what the directory changes into the record, as a server does.
func (c *company) recordChanges(ctx context.Context) error {
	for rec, err := range c.directory.Records(ctx, 0) {
		if err != nil {
			return err
		}
		if err := c.record.Append(rec.Event, rec.Revision); err != nil {
			return err
		}
	}
	return nil
}

// found makes the groups and everybody who is there on the first day.
func (c *company) found() {
	token, err := c.admin.CreateToken(c.ctx, operator, "entra", 180*24*time.Hour)
	c.must(err)
	c.token = string(token.Text)
	for _, name := range slices.Concat([]string{"All staff"}, departments, teams) {
		c.push("POST", "/Groups", map[string]any{"schemas": []string{groupSchema}, "displayName": name, "externalId": externalID("group", name)}, func(made map[string]any) {
			c.groups[name] = made["id"].(string)
		})
	}
	c.must(c.directory.Update(c.ctx, func(tx *directory.Tx) error {
		for i := range *further {
			if err := tx.PutGroup(&directory.Group{DisplayName: fmt.Sprintf("Project %05d", i), ExternalID: externalID("project", fmt.Sprint(i))}); err != nil {
				return err
			}
		}
		return nil
	}))
	for i := range *people {
		c.staff = append(c.staff, c.newPerson(i))
	}
	for chunk := range slices.Chunk(c.staff, 500) {
		c.must(c.directory.Update(c.ctx, func(tx *directory.Tx) error { return c.put(tx, chunk) }))
	}
}

// forget makes people and groups that the identity provider forgets: when the days begin, nothing has changed about them for
// long.
func (c *company) forget() {
	c.must(c.directory.Update(c.ctx, func(tx *directory.Tx) error {
		tx.By(directory.Cause{Kind: "token", Name: "entra"})
		for i := range 4 {
			name := fmt.Sprintf("former%d@castle.example", i)
			u := &directory.User{ExternalID: externalID("former", fmt.Sprint(i)), UserName: name, Document: fmt.Appendf(nil, `{"userName":%q,"active":false,"displayName":"Former Colleague %d"}`, name, i)}
			g := &directory.Group{ExternalID: externalID("former group", fmt.Sprint(i)), DisplayName: fmt.Sprintf("Former project %d", i)}
			if err := errors.Join(tx.PutUser(u), tx.PutGroup(g)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// put adds people and their memberships.
func (c *company) put(tx *directory.Tx, chunk []*person) error {
	tx.By(directory.Cause{Kind: "token", Name: "entra"})
	joined := map[string][]string{}
	for _, p := range chunk {
		document, err := json.Marshal(map[string]any{"userName": p.userName, "externalId": p.externalID, "active": true, "displayName": p.name, "title": "Engineer", "emails": []map[string]any{{"value": p.userName, "primary": true, "type": "work"}}})
		if err != nil {
			return err
		}
		u := &directory.User{ExternalID: p.externalID, UserName: p.userName, Active: true, Document: document}
		if err := tx.PutUser(u); err != nil {
			return err
		}
		p.id = u.ID
		for _, g := range p.groups {
			joined[g] = append(joined[g], u.ID)
			c.members[g] = append(c.members[g], p)
		}
	}
	for g, ids := range joined {
		if _, err := tx.AddMembers(c.groups[g], ids); err != nil {
			return err
		}
	}
	return nil
}

// newPerson makes somebody up. The first three are an administrator, an auditor, and somebody without either right.
func (c *company) newPerson(i int) *person {
	known := []person{
		{userName: "ada@castle.example", name: "Ada Lovelace", externalID: "ada", groups: []string{"All staff", "Engineering", "SRE", "Administrators", "On-call"}},
		{userName: "grace@castle.example", name: "Grace Hopper", externalID: "grace", groups: []string{"All staff", "Security", "Auditors"}},
		{userName: "eve@castle.example", name: "Eve Castellanos", externalID: "eve", groups: []string{"All staff", "Engineering"}},
	}
	if i < len(known) {
		return &known[i]
	}
	first, last := firstNames[c.rand.IntN(len(firstNames))], lastNames[c.rand.IntN(len(lastNames))]
	p := &person{name: first + " " + last, externalID: externalID("user", fmt.Sprint(i)), groups: []string{"All staff", departments[c.rand.IntN(len(departments))]}}
	p.userName = strings.ToLower(plain(first)+"."+plain(last)) + fmt.Sprintf("%d@castle.example", i)
	for range c.rand.IntN(3) {
		if team := teams[c.rand.IntN(len(teams)-2)]; !slices.Contains(p.groups, team) {
			p.groups = append(p.groups, team)
		}
	}
	return p
}

// plain returns the letters of a name that an address may have.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, name)
}

// externalID returns an object id in the manner of Entra.
func externalID(kind, name string) string {
	sum := sha256.Sum256([]byte(kind + " " + name))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

func (c *company) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}
