package admin_test

import "testing"

// TestEndSession_RecordsWhoseItWas: the event names the user, whose session cannot be looked up any more later.
func TestEndSession_RecordsWhoseItWas(t *testing.T) {
	w := newWorld(t)
	for name, end := range map[string]func(user, session string) error{
		"one session": func(_, session string) error { return w.EndSession(t.Context(), ada, session) },
		"all sessions": func(user, _ string) error {
			_, err := w.EndUserSessions(t.Context(), ada, user)
			return err
		},
	} {
		user := w.createUser("grace")
		must(t, end(user, w.beginSession(user)))
		if e := w.lastEvents(1)[0]; e.User != user || e.UserName != "grace" {
			t.Errorf("%s: recorded of %q (%s)", name, e.User, e.UserName)
		}
		_, err := w.RemoveUser(t.Context(), ada, user)
		must(t, err)
	}
}
