/* Streams a run of made-up volumes to braind and survives a restart of the daemon in the middle.

   cc -O2 -o scanner_client scanner_client.c -lzmq
   ./scanner_client tcp://127.0.0.1:5560 SESSION RUN N_VOLUMES SECONDS_BETWEEN SUBJECT X Y Z AFFINE(12 numbers) [KEY]

   KEY is a key file of `braind keys add`, for a daemon that requires keys.

   docs/protocol.md explains every message. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum { TIMEOUT_MS = 2000, TRIES = 30, HEADER = 65536 };

static void *context, *sock;
static const char *address;
static char hello[HEADER], answer[HEADER];
static char key[1024]; /* the key file's JSON; empty without one */

/* CRC-32 as zlib, PNG and Ethernet have it. */
static uint32_t crc32(const unsigned char *bytes, size_t n) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* Give the key file's field, a CURVE key of 40 characters, to the socket. */
static void set_key(int option, const char *field) {
    char text[41] = "", *found = strstr(key, field);
    if (found) snprintf(text, sizeof text, "%s", found + strlen(field));
    if (zmq_setsockopt(sock, option, text, sizeof text) != 0) {
        fprintf(stderr, "the key file has no key after %s\n", field);
        exit(2);
    }
}

static void read_key(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file || !fread(key, 1, sizeof key - 1, file)) {
        perror(path);
        exit(2);
    }
    fclose(file);
}

static void reconnect(void) {
    int linger = 0, immediate = 1, beat = 1000, gone = 3000;
    if (sock) zmq_close(sock);
    sock = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(sock, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(sock, ZMQ_IMMEDIATE, &immediate, sizeof immediate);
    zmq_setsockopt(sock, ZMQ_HEARTBEAT_IVL, &beat, sizeof beat);
    zmq_setsockopt(sock, ZMQ_HEARTBEAT_TIMEOUT, &gone, sizeof gone);
    zmq_setsockopt(sock, ZMQ_SNDTIMEO, &(int){TIMEOUT_MS}, sizeof(int));
    zmq_setsockopt(sock, ZMQ_RCVTIMEO, &(int){TIMEOUT_MS}, sizeof(int));
    if (*key) {
        set_key(ZMQ_CURVE_SERVERKEY, "\"server\":\"");
        set_key(ZMQ_CURVE_PUBLICKEY, "\"public\":\"");
        set_key(ZMQ_CURVE_SECRETKEY, "\"secret\":\"");
    }
    if (zmq_connect(sock, address) != 0) {
        fprintf(stderr, "%s: %s\n", address, zmq_strerror(zmq_errno()));
        exit(2);
    }
}

/* Send a message and receive its answer's header into `answer`; 0 if none comes in time. */
static int ask(const char *header, const void *payload, size_t n) {
    char magic[4];
    if (zmq_send(sock, "BRD1", 4, ZMQ_SNDMORE) < 0) return 0;
    if (zmq_send(sock, header, strlen(header), payload ? ZMQ_SNDMORE : 0) < 0) return 0;
    if (payload && zmq_send(sock, payload, n, 0) < 0) return 0;
    if (zmq_recv(sock, magic, 4, 0) != 4 || memcmp(magic, "BRD1", 4)) return 0;
    int length = zmq_recv(sock, answer, HEADER - 1, 0);
    if (length < 0 || length > HEADER - 1) return 0;
    answer[length] = 0;
    return 1;
}

/* The answers' JSON is written without spaces: looking for the text of a field is enough here. */
static int answer_is(const char *type) {
    char field[64];
    snprintf(field, sizeof field, "\"type\":\"%s\"", type);
    return strstr(answer, field) != NULL;
}

static int may_pass(void) {
    return answer_is("refused") && (strstr(answer, "\"retryable\":true") || strstr(answer, "\"code\":\"run\""));
}

/* Open the run, or come back to it; return the index to go on from. */
static long open_run(void) {
    for (int try = 0; try < TRIES; try++) {
        reconnect();
        if (ask(hello, NULL, 0) && answer_is("welcome"))
            return atol(strstr(answer, "\"next_index\":") + strlen("\"next_index\":"));
        if (answer_is("refused") && !may_pass()) {
            fprintf(stderr, "%s\n", answer);
            exit(2);
        }
        usleep(200000);
    }
    fprintf(stderr, "no daemon answers at %s, or it refuses the key\n", address);
    exit(3);
}

/* Send until it is acked: through a fresh connection and a new hello if need be, always the same bytes. */
static void settle(const char *header, const void *payload, size_t n) {
    for (int try = 0; try < TRIES; try++) {
        answer[0] = 0;
        if (ask(header, payload, n)) {
            if (answer_is("ack")) return;
            if (answer_is("refused") && !may_pass()) {
                fprintf(stderr, "%s\n", answer);
                exit(1);
            }
        }
        open_run();
    }
    fprintf(stderr, "no ack from %s\n", address);
    exit(3);
}

/* Volume `index`: voxel v holds (31 v + 7 index) mod 1000; the last axis, Z, runs fastest. */
static void make_volume(int16_t *voxels, long n, long index) {
    for (long v = 0; v < n; v++) voxels[v] = (int16_t)((31 * v + 7 * index) % 1000);
}

int main(int argc, char **argv) {
    if (argc != 22 && argc != 23) {
        fprintf(stderr, "usage: %s ADDRESS SESSION RUN N_VOLUMES SECONDS SUBJECT X Y Z AFFINE(12 numbers) [KEY]\n",
                argv[0]);
        return 2;
    }
    if (argc == 23) read_key(argv[22]);
    address = argv[1];
    const char *session = argv[2], *run = argv[3];
    long n_volumes = atol(argv[4]), shape[3] = {atol(argv[7]), atol(argv[8]), atol(argv[9])};
    double between_s = atof(argv[5]);
    long n = shape[0] * shape[1] * shape[2];
    int at = snprintf(hello, HEADER,
        "{\"type\":\"hello\",\"session\":\"%s\",\"run\":\"%s\",\"subject\":%s,\"kind\":\"beta\",\"shape\":[%ld,%ld,%ld],"
        "\"tr_s\":4.0,\"dtype\":\"int16\",\"simulated\":true,\"producer\":\"scanner_client.c\",\"affine\":[",
        session, run, argv[6], shape[0], shape[1], shape[2]);
    for (int row = 0; row < 3; row++)
        at += snprintf(hello + at, HEADER - at, "[%s,%s,%s,%s],", argv[10 + 4 * row], argv[11 + 4 * row],
                       argv[12 + 4 * row], argv[13 + 4 * row]);
    snprintf(hello + at, HEADER - at, "[0,0,0,1]]}");

    context = zmq_ctx_new();
    int16_t *voxels = malloc(n * sizeof *voxels);
    char header[HEADER];
    for (long index = open_run(); index < n_volumes; index++) {
        make_volume(voxels, n, index);
        snprintf(header, HEADER,
            "{\"type\":\"volume\",\"session\":\"%s\",\"run\":\"%s\",\"index\":%ld,\"shape\":[%ld,%ld,%ld],"
            "\"dtype\":\"int16\",\"crc32\":%lu,\"scale\":0.01}",
            session, run, index, shape[0], shape[1], shape[2],
            (unsigned long)crc32((unsigned char *)voxels, n * sizeof *voxels));
        settle(header, voxels, n * sizeof *voxels);
        printf("acked %ld\n", index);
        fflush(stdout);
        usleep((useconds_t)(1e6 * between_s));
    }
    snprintf(header, HEADER, "{\"type\":\"end_run\",\"session\":\"%s\",\"run\":\"%s\",\"n_volumes\":%ld}", session, run,
             n_volumes);
    settle(header, NULL, 0);
    free(voxels);
    zmq_close(sock);
    zmq_ctx_term(context);
    return 0;
}
