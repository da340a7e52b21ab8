// Command gcs is fake-gcs-server on a free port of the loopback interface, with objects in memory, plain HTTP and the
// part of Google's XML API that it lacks and that the Rust crate object_store uses: putting an object, and 404 for a
// listing of a bucket that is not there. Multipart uploads and copies are refused. It prints its URL when it can be
// asked, and ends at SIGTERM.
// That is 127.0.0.1 with a port that is free, unless -listen says otherwise.
//
// With -token every request must carry that bearer token, for fake-gcs-server itself asks for none.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	token := flag.String("token", "", "the bearer token that requests must carry")
	listen := flag.String("listen", "127.0.0.1:0", "the address to listen on")
	bucket := flag.String("bucket", "", "a bucket to have from the start")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	// The XML API is there only for requests to the public host.
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener: true, PublicHost: "127.0.0.1", ExternalURL: address,
	})
	if err != nil {
		log.Fatal(err)
	}
	if *bucket != "" {
		server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: *bucket})
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, os.Interrupt, syscall.SIGTERM)
	go func() {
		log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if *token != "" && r.Header.Get("Authorization") != "Bearer "+*token {
				fail(w, http.StatusUnauthorized, "AuthenticationRequired", "Authentication required.")
				return
			}
			// In a cluster it goes by other names as well.
			r.Host = "127.0.0.1"
			serve(server, w, r)
		})))
	}()
	fmt.Println(address)
	<-terminated
}

func serve(server *fakestorage.Server, w http.ResponseWriter, r *http.Request) {
	bucket, object, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	// object_store escapes even hyphens, which most buckets have.
	bucket, err := url.PathUnescape(bucket)
	if err != nil {
		fail(w, http.StatusBadRequest, "InvalidBucketName", err.Error())
		return
	}
	query := r.URL.Query()
	switch {
	case bucket == "storage" || bucket == "upload" || bucket == "download" || bucket == "_internal":
		server.HTTPHandler().ServeHTTP(w, r)
	case query.Has("uploads") || query.Has("uploadId") || r.Header.Get("X-Goog-Copy-Source") != "":
		// Not 501, for that is tried again and again.
		fail(w, http.StatusBadRequest, "NotImplemented", "Neither multipart uploads nor copies are there.")
	case r.Method == http.MethodPut && object != "":
		put(server, w, r, bucket, object)
	case r.Method == http.MethodGet && object == "" && isMissing(server, bucket):
		fail(w, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist.")
	default:
		server.HTTPHandler().ServeHTTP(w, r)
	}
}

// put puts an object by the JSON API, and answers as the XML API does: by headers, the body empty.
func put(server *fakestorage.Server, w http.ResponseWriter, r *http.Request, bucket, object string) {
	name, err := url.PathUnescape(object)
	if err != nil {
		fail(w, http.StatusBadRequest, "InvalidURI", err.Error())
		return
	}
	query := url.Values{"uploadType": {"media"}, "name": {name}}
	if match := r.Header.Get("X-Goog-If-Generation-Match"); match != "" {
		query.Set("ifGenerationMatch", match)
	}
	upload := r.Clone(r.Context())
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" {
		// As a header it would be that of the request, which is decoded.
		query.Set("contentEncoding", encoding)
		upload.Header.Del("Content-Encoding")
	}
	upload.Method = http.MethodPost
	upload.URL = &url.URL{Path: "/upload/storage/v1/b/" + bucket + "/o", RawQuery: query.Encode()}

	answer := httptest.NewRecorder()
	server.HTTPHandler().ServeHTTP(answer, upload)
	var created struct{ Etag, Generation string }
	if answer.Code == http.StatusOK {
		err = json.Unmarshal(answer.Body.Bytes(), &created)
	}
	switch {
	case answer.Code == http.StatusNotFound:
		fail(w, answer.Code, "NoSuchBucket", "The specified bucket does not exist.")
	case answer.Code == http.StatusPreconditionFailed:
		fail(w, answer.Code, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
	case answer.Code != http.StatusOK || err != nil:
		fail(w, http.StatusInternalServerError, "InternalError", answer.Body.String())
	default:
		w.Header().Set("ETag", fmt.Sprintf("%q", created.Etag))
		w.Header().Set("X-Goog-Generation", created.Generation)
	}
}

func isMissing(server *fakestorage.Server, bucket string) bool {
	_, err := server.Backend().GetBucket(bucket)
	return err != nil
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?>"+
		"<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}
