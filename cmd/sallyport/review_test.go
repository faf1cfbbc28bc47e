package main

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport/admin"
	"sallyport/grant"
	"sallyport/store"
)

// startReview starts a review of the route app, and returns its id.
func (s *stage) startReview(t *testing.T, flags ...string) (id string) {
	t.Helper()
	var started admin.ReviewView
	out := s.server.verb(append([]string{"access", "review", "start", "--route", "app", "--due", "14d", "-o", "json"}, flags...)...)
	if err := json.Unmarshal([]byte(out), &started); err != nil {
		t.Fatal(err)
	}
	return started.ID
}

func (s *stage) review(t *testing.T, id string) (review admin.ReviewView) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.server.verb("access", "review", "show", id, "-o", "json")), &review); err != nil {
		t.Fatal(err)
	}
	return review
}

// TestReview_FromStartToSignedExport: a review of a group that the identity provider owns, over real sockets. To revoke
// cuts what is open and denies the next request; the provider's own removal clears that; adding the person again lets
// them in, also after a restart.
func TestReview_FromStartToSignedExport(t *testing.T) {
	w := newWorld(t)
	s := w.settle(w.start("--init"))
	bob := s.push.hire("bob", "00000000-0000-4000-8000-00000000000b")
	s.push.member("Add", s.group, bob)
	id := s.startReview(t, "--reviewer", "owner")
	review := s.review(t, id)
	if len(review.Rows) != 2 || review.Rows[0].User.UserName != "alice@example.com" || time.Since(review.Rows[0].LastUse) > time.Hour || !review.Rows[1].LastUse.IsZero() {
		t.Fatalf("the rows are %+v", review.Rows)
	}
	if m := review.Rows[0].Memberships; len(m) != 1 || m[0].ObjectID != w.group || m[0].Name != "Members" {
		t.Fatalf("the memberships are %+v", m)
	}

	live := s.openAll(t)
	s.server.verb("access", "review", "revoke", id, "1", "--reason", "moved to sales")
	if status := s.browser.fetch("/"); status != http.StatusForbidden {
		t.Errorf("after the revocation, the next request gets %d", status)
	}
	for _, l := range live {
		select {
		case <-l.ended:
		case <-time.After(10 * time.Second):
			t.Errorf("the %s is not cut", l.name)
		}
	}
	out, code := s.server.try("explain", "--user", "alice@example.com", "https://"+appHost+"/")
	if code != exitDenied || !strings.Contains(out, "access_revoked") {
		t.Errorf("explain exits with %d:\n%s", code, out)
	}
	rows, err := csv.NewReader(strings.NewReader(s.server.verb("access", "review", "memberships", id))).ReadAll()
	if err != nil || len(rows) != 2 || strings.Join(rows[1], " ") != "alice@example.com "+s.person.OID+" Members "+w.group {
		t.Errorf("to be removed are %q, %v", rows, err)
	}

	s.server.kill()
	s.server = w.start()
	s.push, s.browser = w.pusher(s.server), w.newBrowser(s.server)
	if status, _ := s.browser.navigate("https://" + appHost + "/"); status != http.StatusForbidden {
		t.Errorf("after a restart, the person gets %d", status)
	}
	s.push.member("Remove", s.group, s.alice)
	s.push.member("Add", s.group, s.alice)
	awaitStatus(t, http.StatusOK, func() int { return s.browser.fetch("/") })
	awaitStatus(t, 1, func() int {
		return strings.Count(s.recordText(t), `"kind":"review","actor":{"kind":"system","name":"membership removed"}`)
	})
	s.checkExport(t, id)
}

// recordText returns the audit record.
func (s *stage) recordText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "data/audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkExport closes a review, and verifies its export without the server.
func (s *stage) checkExport(t *testing.T, id string) {
	t.Helper()
	s.server.verb("access", "review", "keep", id, "2", "--reason", "still on call")
	s.server.verb("access", "review", "close", id)
	file, key := filepath.Join(s.dir, "review.jws"), filepath.Join(s.dir, "keys.json")
	s.server.verb("access", "review", "export", id, "--output", file)
	writeFile(t, s.dir, "keys.json", []byte(s.server.verb("access", "review", "key")))
	s.server.kill()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := runCommand(path, "access", "review", "verify", file, "--key", key)
	if err != nil || !strings.Contains(out, "is sound") || !strings.Contains(out, "2 rows, of which 1 keep, 1 revoke, 0 ask and 0 are undecided") {
		t.Errorf("verify says %v\n%s", err, out)
	}
	signed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	export, _, err := admin.VerifyReview(string(signed), mustReadKeys(t, key))
	if err != nil || export.Review.Rows[0].Decision != grant.DecisionRevoke || export.Review.Rows[0].Memberships[0].Removed.IsZero() || export.Review.Rows[0].Why != "moved to sales" {
		t.Errorf("the export says %+v, %v", export.Review.Rows, err)
	}
	signed[len(signed)/2] ^= 1
	writeFile(t, s.dir, "review.jws", signed)
	if out, err := runCommand(path, "access", "review", "verify", file, "--key", key); err == nil || !strings.Contains(out, "not sound") {
		t.Errorf("after a change, verify says %v\n%s", err, out)
	}
}

// TestReview_CSVHasNoFormulas: names that the identity provider pushed do nothing in the spreadsheet of its administrator.
func TestReview_CSVHasNoFormulas(t *testing.T) {
	var out bytes.Buffer
	row := admin.ReviewRow{Row: grant.Row{User: grant.ReviewUser{ID: "u", UserName: "=1+1", ExternalID: "+2"}, Decision: grant.DecisionRevoke}}
	for _, name := range []string{"@SUM(A1)", "-3", "\tx", "\r=x", "\n=x", "a,\"b\"\n=c", "harmless", "", "＝1", "－2"} {
		row.Memberships = append(row.Memberships, grant.Membership{Group: name, Name: name, ObjectID: name})
	}
	row.Memberships = append(row.Memberships, row.Memberships[0], grant.Membership{Group: "gone", Removed: time.Now()})
	if err := writeMemberships(&out, admin.ReviewView{Rows: []admin.ReviewRow{row, {Row: grant.Row{Decision: grant.DecisionKeep, Memberships: row.Memberships}}}}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != 11 {
		t.Fatalf("%q, %v", rows, err)
	}
	for _, cells := range rows {
		for _, cell := range cells {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
				t.Errorf("%q is a formula", cell)
			}
		}
	}
}

func mustReadKeys(t *testing.T, path string) (set jose.JSONWebKeySet) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// varying matches what differs from run to run in what commands print.
var varying = regexp.MustCompile(`[0-9a-f]{16}|20\d\d-\d\d-\d\dT[0-9:]+Z|[0-9a-f]{8}-[0-9a-f-]{27}|[\w-]{43}`)

// alike returns a line without what differs from run to run.
func alike(line, operator string) string {
	words := strings.Fields(varying.ReplaceAllString(line, "…"))
	for i, word := range words {
		if word == operator {
			words[i] = "root"
		}
	}
	return strings.Join(words, " ")
}

// TestReviewGuide_IsTrue runs the commands of docs/reviews.md in their order, and demands that they print what is written
// there.
func TestReviewGuide_IsTrue(t *testing.T) {
	page, err := os.ReadFile("../../docs/reviews.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	s := w.settle(w.start("--init"))
	s.push.hire("owner", "00000000-0000-4000-8000-00000000000c")
	s.push.member("Add", s.group, s.push.hire("bob", "00000000-0000-4000-8000-00000000000b"))
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	operator, id, commands := "root", "", 0
	if u, err := user.Current(); err == nil {
		operator = u.Username
	}
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		var printed string
		for line := range strings.Lines(block[1]) {
			command, ok := strings.CutPrefix(line, "$ ")
			if !ok {
				if want := alike(line, operator); !strings.Contains("\n"+printed, "\n"+want+"\n") {
					t.Errorf("%q is not printed, but\n%s", want, printed)
				}
				continue
			}
			commands++
			cmd := exec.Command("sh", "-c", command)
			cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "ID="+id, "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s%v\n%s", command, err, out)
			}
			printed = ""
			for line := range strings.Lines(string(out)) {
				printed += alike(line, operator) + "\n"
				if found := regexp.MustCompile(`^[0-9a-f]{16}`).FindString(line); found != "" {
					id = found
				}
			}
		}
	}
	if commands < 12 {
		t.Errorf("there are only %d commands", commands)
	}
}

// TestReview_ApplicationsAreNotToldOfRevokedGroups: neither in the header nor in the assertion, nor is the person at
// /.sallyport/me, while another membership still lets them in.
func TestReview_ApplicationsAreNotToldOfRevokedGroups(t *testing.T) {
	const extra = "61503835-0000-0000-0000-00000000000e"
	w := newWorld(t)
	w.rewrite("      - allow: {groups: [{id: "+w.group, "      - allow: {groups: [{id: "+extra+", name: Extra}]}\n      - allow: {groups: [{id: "+w.group)
	s := w.settle(w.start("--init"))
	s.push.member("Add", s.push.form("Extra", extra), s.alice)
	told := func() string {
		t.Helper()
		var all []string
		for _, path := range []string{"/identity", "/.sallyport/me"} {
			resp := s.browser.get("https://"+appHost+path, "")
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s is %d, %v", path, resp.StatusCode, err)
			}
			text := string(body)
			if _, assertion, ok := strings.Cut(text, "."); ok && path == "/identity" {
				payload, _, _ := strings.Cut(assertion, ".")
				claims, err := base64.RawURLEncoding.DecodeString(payload)
				if err != nil {
					t.Fatal(err)
				}
				text += string(claims)
			}
			all = append(all, strconv.Itoa(strings.Count(text, w.group)), strconv.Itoa(strings.Count(text, extra)))
		}
		return strings.Join(all, " ")
	}
	if got := told(); got != "2 2 1 1" {
		t.Fatalf("told are %s", got)
	}
	id := s.startReview(t)
	if rows := s.review(t, id).Rows; len(rows) != 2 || rows[1].Memberships[0].Name != "Members" {
		t.Fatalf("the rows are %+v", rows)
	}
	s.server.verb("access", "review", "revoke", id, "2", "--reason", "x")
	if got := told(); got != "0 2 0 1" {
		t.Errorf("after the revocation, told are %s", got)
	}
	s.server.verb("access", "review", "keep", id, "2", "--reason", "x")
	if got := told(); got != "2 2 1 1" {
		t.Errorf("after it was lifted, told are %s", got)
	}
}

// TestReview_OverdueIsShown in lists, by doctor and as a metric; and a review is decided about while no server runs.
func TestReview_OverdueIsShown(t *testing.T) {
	w := newWorld(t)
	s := w.settle(w.start("--init"))
	id := s.startReview(t)
	gauge := func(want string) {
		t.Helper()
		resp, err := http.Get("http://" + s.server.addrs["ops"] + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), "\nsallyport_reviews_overdue "+want+"\n") {
			t.Errorf("the metric is not %s, %v", want, err)
		}
	}
	gauge("0")
	s.server.kill()
	changeStore(t, filepath.Join(w.dir, "data/sallyport.db"), func(st store.Writer) error {
		text, err := st.Get([]byte("review/" + id))
		if err != nil {
			return err
		}
		var review grant.Review
		if err := json.Unmarshal(text, &review); err != nil {
			return err
		}
		review.Due = time.Now().Add(-time.Minute)
		if text, err = json.Marshal(review); err != nil {
			return err
		}
		return st.Put([]byte("review/"+id), text)
	})
	s.server.verb("access", "review", "revoke", id, "1", "--reason", "while no server runs")
	s.server = w.start()
	gauge("1")
	if out := s.server.verb("access", "review", "list"); !strings.Contains(out, "overdue") {
		t.Errorf("it is not overdue in\n%s", out)
	}
	if out, _ := s.server.try("doctor", "-o", "csv"); !strings.Contains(out, "reviews,warn,\"overdue: "+id) {
		t.Errorf("doctor says\n%s", out)
	}
	s.browser = w.newBrowser(s.server)
	if status, _ := s.browser.navigate("https://" + appHost + "/"); status != http.StatusForbidden {
		t.Errorf("who was revoked meanwhile gets %d", status)
	}
	if out, _ := s.server.try("explain", "--user", "alice@example.com", "https://"+appHost+"/"); !strings.Contains(out, "sallyport access review keep "+id+" 1`, which lifts the revocation of Members") {
		t.Errorf("explain does not say what would help:\n%s", out)
	}
	s.server.verb("access", "review", "close", id)
	gauge("0")
}

// TestReview_ClearedWithoutServer: the membership ends while no server runs. The next one records that, and whoever is
// added anew is let in.
func TestReview_ClearedWithoutServer(t *testing.T) {
	w := newWorld(t)
	s := w.settle(w.start("--init"))
	id := s.startReview(t)
	s.server.verb("access", "review", "revoke", id, "1", "--reason", "x")
	s.server.kill()
	s.server.verb("users", "remove", "alice@example.com", "--yes")
	s.server = w.start()
	s.push, s.browser = w.pusher(s.server), w.newBrowser(s.server)
	awaitStatus(t, 1, func() int { return strings.Count(s.recordText(t), `"reason":"cleared"`) })
	if m := s.review(t, id).Rows[0].Memberships[0]; m.Removed.IsZero() {
		t.Errorf("the membership is %+v", m)
	}
	s.push.member("Add", s.group, s.push.hire("alice", s.person.OID))
	if status, _ := s.browser.navigate("https://" + appHost + "/"); status != http.StatusOK {
		t.Errorf("with a new membership, the person gets %d", status)
	}
}
