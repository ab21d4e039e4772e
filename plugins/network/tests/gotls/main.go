// A web server and its clients over TLS, by Go's own libraries, with their own account of what they did.
//
//	gotls serve [wrapped | http2]            prints its port; then, for each line it gets, its account in JSON
//	gotls ask PORT CONNECTIONS REQUESTS      opens so many connections, says "ready", and when it gets a line asks
//	gotls http2 PORT CONNECTIONS REQUESTS    opens every second one after that, in HTTP/2, asks for all at the same time, and
//	                                         closes none
//	gotls stack PORT                         the same by crypto/tls alone, into a buffer on a stack that is moved
//	gotls full PORT                          from stacks with ever less room, so that one has none for Write
//
// Request number n of all is for /id-n and is answered with status 200 + n % 700, by another order than they came in.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

var input = bufio.NewScanner(os.Stdin)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}
}

// As in programs that count or limit their connections.
type wrapped struct {
	net.Conn
	since time.Time
}

type wrapping struct{ net.Listener }

func (w wrapping) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	return &wrapped{conn, time.Now()}, err
}

type server struct {
	sync.Mutex
	account map[string]int
	busy    map[net.Conn]bool // their answers are not all written
}

func (s *server) state(conn net.Conn, state http.ConnState) {
	s.Lock()
	defer s.Unlock()
	if state == http.StateActive {
		s.busy[conn] = true
	} else {
		delete(s.busy, conn)
	}
}

// Says what was answered, once that is done: the client may have an answer before Write returns.
func (s *server) report() {
	s.Lock()
	defer s.Unlock()
	for len(s.busy) > 0 {
		s.Unlock()
		time.Sleep(time.Millisecond)
		s.Lock()
	}
	text, err := json.Marshal(s.account)
	check(err)
	fmt.Println(string(text))
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, answer := 200, []byte(r.URL.Path)
	_, err := io.Copy(io.Discard, r.Body)
	check(err)
	switch {
	case strings.HasPrefix(r.URL.Path, "/id-"):
		number, err := strconv.Atoi(r.URL.Path[4:])
		check(err)
		status = 200 + number%700
		time.Sleep(time.Duration(number*7%5) * time.Millisecond)
	case r.URL.Path == "/large":
		answer = make([]byte, 3000000)
	}
	s.Lock()
	s.account[fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, status)]++
	s.Unlock()
	w.Header().Set("X-Id", r.URL.Path)
	if r.ProtoMajor == 1 && r.ProtoMinor == 0 {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func serve(how string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	s := &server{account: map[string]int{}, busy: map[net.Conn]bool{}}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if how == "wrapped" {
		listener = wrapping{listener}
	}
	web := http.Server{Handler: s, ConnState: s.state}
	configuration := &tls.Config{Certificates: []tls.Certificate{certificate()}}
	if how == "http2" {
		configuration.NextProtos = []string{"h2"}
	} else { // an empty map instead of none: no HTTP/2
		web.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	go func() { check(web.Serve(tls.NewListener(listener, configuration))) }()
	for input.Scan() {
		s.report()
	}
}

func request(client *http.Transport, method, port, path string, size int) *tls.ConnectionState {
	asked, err := http.NewRequest(method, "https://127.0.0.1:"+port+path, strings.NewReader(strings.Repeat("b", size)))
	check(err)
	answer, err := client.RoundTrip(asked) // whatever the status
	check(err)
	_, err = io.Copy(io.Discard, answer.Body)
	check(err)
	answer.Body.Close()
	if answer.Header.Get("X-Id") != path {
		log.Fatalf("%s was answered with %s", path, answer.Header.Get("X-Id"))
	}
	return answer.TLS
}

func ask(port string, connections, requests int, http2 bool) {
	sessions := tls.NewLRUClientSessionCache(8)
	everybody := func(clients []*http.Transport, work func(client *http.Transport, number int)) {
		var group sync.WaitGroup
		for number, client := range clients {
			group.Add(1)
			go func(client *http.Transport, number int) {
				defer group.Done()
				work(client, number)
			}(client, number)
		}
		group.Wait()
	}
	clients := make([]*http.Transport, connections)
	for number := range clients {
		configuration := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: sessions}
		clients[number] = &http.Transport{TLSClientConfig: configuration, ForceAttemptHTTP2: http2}
	}
	open := func(clients []*http.Transport) {
		everybody(clients, func(client *http.Transport, _ int) { request(client, "GET", port, "/open", 0) })
	}
	first := clients
	if http2 {
		first = clients[:connections/2]
	}
	open(first)
	fmt.Println("ready")
	input.Scan()
	if http2 {
		open(clients)
	}
	everybody(clients, func(client *http.Transport, number int) {
		var group sync.WaitGroup
		for at := 0; at < requests; at++ {
			path := fmt.Sprintf("/id-%d", at*connections+number)
			if !http2 {
				request(client, "GET", port, path, 0)
				continue
			}
			group.Add(1)
			go func() {
				defer group.Done()
				request(client, "GET", port, path, 0)
			}()
		}
		group.Wait()
	})
	request(clients[0], "GET", port, "/large", 0)
	request(clients[0], "POST", port, "/orders", 100000)
	resumed := 0
	for range clients { // each on a new connection
		if http2 {
			break
		}
		configuration := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: sessions}
		transport := &http.Transport{TLSClientConfig: configuration, DisableKeepAlives: true}
		if request(transport, "GET", port, "/closed", 0).DidResume {
			resumed++
		}
	}
	fmt.Println("done", resumed)
	input.Scan()
}

//go:noinline
func deep(levels int) int {
	var room [1024]byte
	if levels > 0 {
		room[levels%1024] = byte(deep(levels - 1))
	}
	return int(room[levels%1024])
}

//go:noinline
func receive(conn *tls.Conn) {
	var buffer [2048]byte
	count, err := conn.Read(buffer[:])
	check(err)
	if !strings.HasPrefix(string(buffer[:count]), "HTTP/1.1 203") {
		log.Fatal(string(buffer[:count]))
	}
}

func stack(port string) {
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
	check(err)
	fmt.Println("ready")
	input.Scan()
	for round := 0; round < 3; round++ {
		done := make(chan bool)
		go func() {
			deep(200) // the stack grows, and shrinks again when nothing needs it
			receive(conn)
			close(done)
		}()
		for turn := 0; turn < 5; turn++ {
			time.Sleep(10 * time.Millisecond)
			runtime.GC()
		}
		_, err = fmt.Fprint(conn, "GET /id-3 HTTP/1.1\r\nHost: here\r\n\r\n")
		check(err)
		<-done
	}
	fmt.Println("done", 0)
	input.Scan()
}

//go:noinline
func below(levels int, conn *tls.Conn, text []byte) {
	if levels > 0 {
		below(levels-1, conn, text)
		return
	}
	_, err := conn.Write(text)
	check(err)
}

func full(port string) {
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
	check(err)
	fmt.Println("ready")
	input.Scan()
	answers := bufio.NewReader(conn)
	for level := 0; level < 64; level++ {
		go below(level, conn, []byte(fmt.Sprintf("GET /id-%d HTTP/1.1\r\nHost: here\r\n\r\n", level)))
		answer, err := http.ReadResponse(answers, nil)
		check(err)
		_, err = io.Copy(io.Discard, answer.Body)
		check(err)
	}
	fmt.Println("done", 0)
	input.Scan()
}

func number(text string) int {
	found, err := strconv.Atoi(text)
	check(err)
	return found
}

func main() {
	log.SetFlags(log.Lshortfile)
	switch os.Args[1] {
	case "serve":
		serve(strings.Join(os.Args[2:], " "))
	case "ask", "http2":
		ask(os.Args[2], number(os.Args[3]), number(os.Args[4]), os.Args[1] == "http2")
	case "stack":
		stack(os.Args[2])
	case "full":
		full(os.Args[2])
	}
}
