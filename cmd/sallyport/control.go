package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/admin"
	"sallyport/audit/sink"
	"sallyport/enforce"
	"sallyport/store"
	"sallyport/webhook"
)

// control serves operators' commands over HTTP: on the Unix socket of a running server, or within the command's own
// process if no server runs. Whoever can open the socket (mode 0600) may do everything; the actor of each action is the
// user who opened the connection.
type control struct {
	admin       *admin.Admin
	store       store.Store
	needRestart func() []string // the changed keys that are not in force; nil if no server runs
	publicURL   func() string   // in force; nil if no server runs
	questions   *questions
	webhooks    *webhook.Sender
	sinks       *sink.Sinks           // nil if no server runs
	reach       *reach                // nil if no server runs
	catchUp     func(context.Context) // has memory know what other replicas have stored; nil if no server runs
	log         *slog.Logger
}

// operation is what the control socket does for one pattern. Its result becomes JSON.
type operation func(ctx context.Context, actor admin.Actor, r *http.Request) (any, error)

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, op := range c.operations() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if c.catchUp != nil {
				c.catchUp(r.Context())
			}
			c.serve(w, r, op)
		})
	}
	mux.HandleFunc("GET /backup", c.backup)
	return mux
}

func (c *control) operations() map[string]operation {
	return map[string]operation{
		"GET /users":              c.users,
		"GET /groups":             c.groupList,
		"GET /sessions":           query(c.admin.Sessions),
		"GET /tokens":             query(c.admin.Tokens),
		"GET /held":               c.held,
		"GET /completions/{kind}": c.completions,
		"GET /goroutines":         c.goroutines,
		"GET /facts":              query(c.admin.Stats),
		"GET /exchanges":          c.provisioningLog,
		"GET /exchanges/{number}": c.push,
		"GET /drift":              query(c.admin.Drift),
		"GET /faults":             query(c.inspectNow),
		"GET /sinks":              query(c.sinkStatus),
		"POST /reach":             query(c.beginReach),

		"GET /users/{user}":               c.user,
		"GET /users/{user}/changes":       c.userChanges,
		"GET /groups/{group}/changes":     c.groupChanges,
		"GET /search":                     c.search,
		"GET /people/{name}":              c.usersNamed,
		"DELETE /users/{user}":            c.removeUser,
		"GET /groups/{group}":             c.group,
		"DELETE /groups/{group}":          c.removeGroup,
		"POST /users/{user}/suspension":   c.suspend,
		"DELETE /users/{user}/suspension": c.unsuspend,
		"DELETE /users/{user}/sessions":   c.endUserSessions,
		"POST /users/{user}/breakglass":   c.armBreakGlass,
		"DELETE /users/{user}/breakglass": c.disarmBreakGlass,
		"DELETE /sessions/{id}":           c.endSession,
		"POST /live":                      c.live,
		"DELETE /live/{id}":               c.endLive,
		"DELETE /users/{user}/live":       c.endUserLive,
		"GET /requests":                   query(c.admin.Requests),
		"GET /requests/{id}":              c.request,
		"POST /requests/{id}/approval":    c.approve,
		"POST /requests/{id}/denial":      c.deny,
		"GET /grants":                     c.grants,
		"POST /grants/{id}/revocation":    c.revokeGrant,
		"POST /tokens":                    c.createToken,
		"POST /tokens/{id}/successor":     c.rotateToken,
		"DELETE /tokens/{id}":             c.revokeToken,
		"POST /held/release":              c.releaseHeld,
		"POST /held/reject":               c.rejectHeld,
		"POST /reload":                    c.reload,
		"POST /upgrade":                   c.upgrade,
		"POST /webhooks/test":             c.testWebhooks,
		"POST /explain":                   c.questions.explain,
		"GET /routes":                     query(c.routeCounts),
		"GET /routes/{route}":             c.waysIn,
		"GET /rules":                      query(c.ruleFacts),
		"GET /configuration":              query(c.configurations),
		"POST /access/who":                c.questions.who,
		"POST /access/what":               c.questions.what,
		"POST /access/diff":               c.questions.diff,
		"POST /access/test":               c.questions.test,
		"POST /access/lint":               c.questions.lint,
		"POST /access/replay":             c.questions.replay,
		"POST /access/unused":             c.questions.unused,
		"GET /reviews":                    query(c.admin.Reviews),
		"GET /review-keys":                query(c.reviewKeys),
		"GET /record":                     query(c.recordTrust),
		"POST /record/search":             c.searchRecord,
		"GET /decisions/{request}":        c.showRequest,
		"POST /receipts":                  c.makeReceipt,
		"POST /reviews":                   c.questions.startReview,
		"GET /reviews/{id}":               c.review,
		"POST /reviews/{id}/decisions":    c.decideReview,
		"POST /reviews/{id}/close":        c.closeReview,
		"GET /reviews/{id}/export":        c.exportReview,
		"POST /figures":                   c.figures,
		"POST /uses":                      c.lastUses,
		"POST /heat":                      c.heat,
		"GET /replicas":                   query(c.admin.Replicas),
		"GET /rule-uses":                  query(c.admin.RuleUses),
		"POST /explain/request":           c.questions.explainRecorded,
	}
}

// query is an operation that only reads.
func query[T any](read func(context.Context, admin.Actor) (T, error)) operation {
	return func(ctx context.Context, actor admin.Actor, _ *http.Request) (any, error) { return read(ctx, actor) }
}

const maxControlBody = 4 << 20 // bytes: two configuration files

// serve writes the result of op as JSON, or its error as {"error": …}.
func (c *control) serve(w http.ResponseWriter, r *http.Request, op operation) {
	r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
	actor, err := peerActor(r.Context())
	if err != nil {
		c.respond(w, http.StatusInternalServerError, errorBody{err.Error()})
		return
	}
	ctx, incomplete := enforce.Collect(r.Context())
	result, err := op(ctx, actor, r)
	for _, outcome := range incomplete() {
		w.Header().Add(enforcedHeader, outcome.String())
	}
	if err != nil {
		c.respond(w, http.StatusUnprocessableEntity, errorBody{err.Error()})
		return
	}
	c.respond(w, http.StatusOK, result)
}

// enforcedHeader is the header that tells of replicas which do not have what an operator changed.
const enforcedHeader = "Sallyport-Enforced"

// errorBody is the body of every response that reports an error.
type errorBody struct {
	Error string `json:"error"`
}

func (c *control) respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		c.log.Debug("the response on the control socket was not delivered", "err", err)
	}
}

// decodeBody reads the body of a request.
func decodeBody[T any](r *http.Request) (body T, err error) {
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return body, fmt.Errorf("reading the request: %w", err)
	}
	return body, nil
}

// The bodies of responses that count.
type (
	endedCount struct {
		Ended int `json:"ended"`
	}
	suspendedCount struct {
		SessionsEnded int `json:"sessions_ended"`
	}
	releasedCount struct {
		Released int `json:"released"`
	}
	rejectedCount struct {
		Rejected int `json:"rejected"`
	}
)

// suspension says why a user is suspended.
type suspension struct {
	Reason string `json:"reason"`
}

func (c *control) suspend(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[suspension](r)
	if err != nil {
		return nil, err
	}
	ended, err := c.admin.Suspend(ctx, actor, r.PathValue("user"), body.Reason)
	return suspendedCount{ended}, err
}

func (c *control) unsuspend(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return struct{}{}, c.admin.Unsuspend(ctx, actor, r.PathValue("user"))
}

func (c *control) usersNamed(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return c.admin.UsersNamed(ctx, actor, r.PathValue("name"))
}

func (c *control) endSession(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return endedCount{1}, c.admin.EndSession(ctx, actor, r.PathValue("id"))
}

func (c *control) endUserSessions(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	user, err := c.admin.FindUser(ctx, actor, r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	ended, err := c.admin.EndUserSessions(ctx, actor, user)
	return endedCount{ended}, err
}

// newToken asks for a token.
type newToken struct {
	Name string        `json:"name"`
	TTL  time.Duration `json:"ttl"` // nanoseconds; 0: the token never expires
}

func (c *control) createToken(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[newToken](r)
	if err != nil {
		return nil, err
	}
	return c.admin.CreateToken(ctx, actor, body.Name, body.TTL)
}

// rotation asks for the successor of a token.
type rotation struct {
	TTL     time.Duration `json:"ttl"`     // of the successor, nanoseconds; 0: it never expires
	Overlap time.Duration `json:"overlap"` // after which the old token expires
}

func (c *control) rotateToken(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[rotation](r)
	if err != nil {
		return nil, err
	}
	return c.admin.RotateToken(ctx, actor, r.PathValue("id"), body.TTL, body.Overlap)
}

func (c *control) revokeToken(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return c.admin.RevokeToken(ctx, actor, r.PathValue("id"))
}

// holdDecision names the users whose held deactivation is decided about; none means all.
type holdDecision struct {
	Users []string `json:"users"`
}

func (c *control) releaseHeld(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[holdDecision](r)
	if err != nil {
		return nil, err
	}
	released, err := c.admin.Release(ctx, actor, body.Users)
	return releasedCount{released}, err
}

func (c *control) rejectHeld(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[holdDecision](r)
	if err != nil {
		return nil, err
	}
	rejected, err := c.admin.Reject(ctx, actor, body.Users)
	return rejectedCount{rejected}, err
}

func (c *control) provisioningLog(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		n = 0 // which is too few
	}
	return c.admin.ProvisioningLog(ctx, actor, n, r.URL.Query().Has("refused"))
}

func (c *control) reload(ctx context.Context, actor admin.Actor, _ *http.Request) (any, error) {
	if err := c.admin.Reload(ctx, actor); err != nil {
		return nil, err
	}
	return reloadResult{c.needRestart()}, nil
}

// reloadResult is the body of the response to a reload.
type reloadResult struct {
	NeedRestart []string `json:"need_restart"` // changed keys that are not in force
}

// backupError is the trailer that says why a copy is not whole.
const backupError = "Sallyport-Error"

// backup writes a copy of the store. An error before the first byte is a response like any other; after that, it is in
// the trailer.
func (c *control) backup(w http.ResponseWriter, r *http.Request) {
	actor, err := peerActor(r.Context())
	if err != nil {
		c.respond(w, http.StatusInternalServerError, errorBody{err.Error()})
		return
	}
	out := &backupWriter{w: w}
	if err := c.admin.Backup(r.Context(), actor, out); err != nil {
		c.log.Error("backup failed", "err", err)
		if out.begun {
			w.Header().Set(backupError, err.Error())
			return
		}
		c.respond(w, http.StatusUnprocessableEntity, errorBody{err.Error()})
	}
}

// backupStall is how long a client may take to read a part of a backup. Meanwhile the store's file grows with each change,
// since what is being read is not overwritten.
const backupStall = time.Minute

// backupWriter sets the headers of the response when the copy begins.
type backupWriter struct {
	w     http.ResponseWriter
	begun bool
}

func (b *backupWriter) Write(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		b.w.Header().Set("Content-Type", "application/octet-stream")
		b.w.Header().Set("Trailer", backupError)
	}
	_ = http.NewResponseController(b.w).SetWriteDeadline(time.Now().Add(backupStall))
	return b.w.Write(p)
}

// listenControl opens the control socket. It replaces a socket that a former server left behind, but not one that
// accepts connections: then another server runs.
func listenControl(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the control socket: %w", err)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("another server listens on the control socket %s; stop it, or give control.socket another path", path)
	}
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	l, err := listenPrivate(path)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // which would remove whatever is there by then
	return ownControl(path, l)
}

// ownControl returns the listener on the control socket at path, which another process may have made.
func ownControl(path string, l net.Listener) (net.Listener, error) {
	made, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("looking for the control socket that was made: %w", err), l.Close())
	}
	return &controlListener{Listener: l, path: path, made: made}, nil
}

// removeControl removes the control socket of the process that this one succeeds, if that was at another path.
func (f *former) removeControl(own string, log *slog.Logger) {
	if f == nil {
		return
	}
	left, ok := f.sockets[controlServer]
	if !ok || left.Addr == own {
		return
	}
	if err := removeSocket(left.Addr); err != nil {
		log.Warn("the control socket of the process that this one has taken over from could not be removed", "err", err)
	}
}

// removeSocket removes the socket that a former server left at path. Anything else there stays, and is an error.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking for the control socket of a former server: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("control.socket names %s, which is not a socket and was left alone; name a path at which there is nothing else", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the control socket of a former server: %w", err)
	}
	return nil
}

// controlListener listens on the control socket, and removes the socket when it is closed, unless another server has put
// its own in its place.
type controlListener struct {
	net.Listener
	path   string
	made   os.FileInfo
	once   sync.Once
	err    error       // of the first Close
	shared atomic.Bool // another process has it too
}

// File returns a descriptor of the listener, for another process.
func (l *controlListener) File() (*os.File, error) {
	unix, ok := l.Listener.(*net.UnixListener)
	if !ok {
		return nil, errors.New("the control socket is not a Unix socket")
	}
	return unix.File()
}

// keep has Close leave the socket to another process.
func (l *controlListener) keep() { l.shared.Store(true) }

// Close implements [net.Listener].
func (l *controlListener) Close() error {
	l.once.Do(func() {
		if found, err := os.Lstat(l.path); err == nil && os.SameFile(found, l.made) && !l.shared.Load() {
			l.err = removeSocket(l.path)
		}
		l.err = errors.Join(l.err, l.Listener.Close())
	})
	return l.err
}
