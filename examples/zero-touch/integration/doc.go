// Package integration tests the deployed program from outside, over HTTP.
//
// Its tests are behind the build tag "integration", so that go test ./... needs
// no cluster. PODCOV_ADDR says where the program is; podcov-test sets it.
package integration
