package manage_test

import (
	"testing"
	"time"

	"sallyport/admin"
)

func TestConfiguration_SaysWhatIsInForceAndWhatIsNot(t *testing.T) {
	e := newEnv(t)
	e.page(e.otto, "/configuration").contains(t, "/etc/sallyport.yaml", "aa11", "the same", "public_url: https://login.example.com", "the server itself (start)")
	e.config = admin.Configuration{SHA256: "aa11", Restart: []string{"audit.file"},
		OnDisk:  admin.FileOnDisk{SHA256: "bb22", Diff: []admin.DiffLine{{Sign: " ", Text: "a"}, {Sign: "+", Text: "<b>"}, {Sign: "-", Text: "c"}}},
		Refused: &admin.Refused{Time: time.Now(), Faults: admin.Faults{{Line: 7, Col: 3, Path: "routes[0].hots", Problem: "is not a key here; write host"}}}}
	e.page(e.otto, "/configuration").contains(t, "A newer file was refused", "line 7, column 3", "routes[0].hots", "only after a restart", "audit.file", "differs from what is in force", "&lt;b&gt;")
	var got struct{ Replicas []admin.Configuration }
	if got = unmarshal[struct{ Replicas []admin.Configuration }](e.get(e.otto, "/configuration?format=json")); len(got.Replicas) != 1 || got.Replicas[0].OnDisk.SHA256 != "bb22" {
		t.Errorf("%+v", got)
	}
}
