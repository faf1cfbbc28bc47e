// Package company makes up a company for tests and pictures of the console: people, groups, and two weeks of pushes,
// requests, leavers, requests for access and reviews, as a store and an audit record that a server can go on with.
//
// Its test makes the company: the clock of [testing/synctest] lets two weeks pass in seconds, so that everything is made by
// the code that makes it in a server, at the times that it tells of. Only requests to applications are made up.
//
//	go test ./browser/company -run TestCompany -args -out DIR
package company
