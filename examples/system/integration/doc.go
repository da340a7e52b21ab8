// Package integration tests the deployed system from outside, over HTTP.
//
// Its tests are behind the build tag "integration", so that go test ./... needs
// no cluster. PODCOV_ADDR says where the system is; podcov-test sets it.
package integration
