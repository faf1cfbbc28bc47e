package scim_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"sallyport/directory"
	"sallyport/scim"
	"sallyport/store/bolt"
)

// An identity provider pushes a user. When it has the response, decisions know the user.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	st, err := bolt.Open(filepath.Join(dir, "sallyport.db"), bolt.Options{Init: true})
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	users, err := directory.Open(ctx, st, "externalId")
	if err != nil {
		log.Fatal(err)
	}
	provisioning, err := scim.Open(ctx, st, users)
	if err != nil {
		log.Fatal(err)
	}
	go func() { _ = users.Run(ctx) }()
	go func() { _ = provisioning.Run(ctx) }()

	token, text, err := scim.NewToken("entra", 0) // an administrator pastes text into the identity provider's settings
	if err != nil {
		log.Fatal(err)
	}
	if err := provisioning.AddToken(ctx, token); err != nil {
		log.Fatal(err)
	}

	server := scim.New(scim.Parts{Provisioning: provisioning, Settings: scim.Defaults(), Log: slog.New(slog.DiscardHandler)})
	push := httptest.NewRequest(http.MethodPost, "/scim/v2/Users", strings.NewReader(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],
		"userName":"ann@example.com","externalId":"00000000-0000-4000-8000-000000000001","active":true}`))
	push.Header.Set("Authorization", "Bearer "+text)
	push.Header.Set("Content-Type", "application/scim+json")
	response := httptest.NewRecorder()
	server.ServeHTTP(response, push)

	user, ok := users.Lookup("00000000-0000-4000-8000-000000000001")
	fmt.Println(response.Code, ok, user.UserName, user.Active)
	// Output: 201 true ann@example.com true
}
