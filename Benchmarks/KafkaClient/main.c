// What librdkafka itself does with the records of a PUT: a producer that keeps a number of them in flight, and a
// consumer that reads them back, with nothing around them. They bound what a log on Kafka can do.
//
//   KafkaClientBenchmark produce BROKERS TOPIC PARTITIONS IN_FLIGHT SECONDS
//   KafkaClientBenchmark consume BROKERS TOPIC PARTITIONS RECORDS

#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { max_latencies = 1 << 22 };

static int outstanding;
static long acknowledged;
static float *latencies;
static long latency_count;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *configuration, const char *name, const char *value) {
    char error[256];
    if (rd_kafka_conf_set(configuration, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) fail(name, error);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *configuration, const char *brokers) {
    char error[256];
    set(configuration, "bootstrap.servers", brokers);
    set(configuration, "socket.nagle.disable", "true");
    rd_kafka_t *client = rd_kafka_new(type, configuration, error, sizeof error);
    if (client == NULL) fail("rd_kafka_new", error);
    return client;
}

static void on_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *context) {
    (void)producer;
    (void)context;
    if (message->err) fail("delivery", rd_kafka_err2str(message->err));
    outstanding--;
    acknowledged++;
    double sent;
    memcpy(&sent, &message->_private, sizeof sent);
    if (latency_count < max_latencies) latencies[latency_count++] = (float)((now() - sent) * 1e3);
}

static int ascending(const void *a, const void *b) {
    const float first = *(const float *)a, second = *(const float *)b;
    return first < second ? -1 : first > second;
}

// Keys of 12 bytes, values of 100, and the headers of the log.
static void produce_one(rd_kafka_t *producer, rd_kafka_topic_t *topic, int partition, uint64_t random) {
    static uint8_t stamp[29], time[8], value[100];
    char key[13];
    snprintf(key, sizeof key, "key-%08d", (int)(random % 10000));
    memcpy(stamp + 9, &random, sizeof random);
    memcpy(value, &random, sizeof random);
    const double sent = now();
    void *context;
    memcpy(&context, &sent, sizeof context);
    const rd_kafka_resp_err_t error = rd_kafka_producev(
        producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key, 12),
        RD_KAFKA_V_VALUE(value, sizeof value), RD_KAFKA_V_HEADER("affinity", stamp, sizeof stamp),
        RD_KAFKA_V_HEADER("t", time, sizeof time), RD_KAFKA_V_OPAQUE(context),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (error) fail("produce", rd_kafka_err2str(error));
    outstanding++;
}

static void produce(const char *brokers, const char *name, int partitions, int in_flight, double seconds) {
    rd_kafka_conf_t *configuration = rd_kafka_conf_new();
    set(configuration, "enable.idempotence", "true");
    set(configuration, "acks", "all");
    set(configuration, "enable.gapless.guarantee", "true");
    set(configuration, "message.timeout.ms", "0");
    set(configuration, "linger.ms", "0");
    rd_kafka_conf_set_dr_msg_cb(configuration, on_report);
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, configuration, brokers);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
    if (topic == NULL) fail(name, rd_kafka_err2str(rd_kafka_last_error()));
    latencies = malloc(max_latencies * sizeof *latencies);
    uint64_t random = 88172645463325252ull;
    double start = now(), warm = start + 1, end = warm + seconds;
    int is_warm = 0, partition = 0;
    while (now() < end) {
        if (!is_warm && now() >= warm) {
            is_warm = 1;
            acknowledged = latency_count = 0;
            start = now();
        }
        while (outstanding < in_flight) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            produce_one(producer, topic, partition, random);
            partition = (partition + 1) % partitions;
        }
        rd_kafka_poll(producer, 100);
    }
    const double elapsed = now() - start;
    qsort(latencies, (size_t)latency_count, sizeof *latencies, ascending);
    printf("client/produce/%d\t%.3f\t/s\n", in_flight, (double)acknowledged / elapsed);
    printf("client/produce/%d/p50\t%.4f\tms\n", in_flight, latencies[latency_count / 2]);
    printf("client/produce/%d/p99\t%.4f\tms\n", in_flight, latencies[latency_count * 99 / 100]);
    rd_kafka_flush(producer, 60000);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
}

static void consume(const char *brokers, const char *name, int partitions, long records) {
    rd_kafka_conf_t *configuration = rd_kafka_conf_new();
    set(configuration, "group.id", "benchmark");
    set(configuration, "isolation.level", "read_committed");
    set(configuration, "enable.auto.commit", "false");
    set(configuration, "auto.offset.reset", "error");
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, configuration, brokers);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int partition = 0; partition < partitions; partition++)
        rd_kafka_topic_partition_list_add(list, name, partition)->offset = 0;
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    const double start = now();
    if (rd_kafka_assign(consumer, list)) fail("assign", name);
    rd_kafka_message_t *messages[1000];
    long count = 0;
    uint64_t bytes = 0;
    while (count < records) {
        const ssize_t found = rd_kafka_consume_batch_queue(queue, 1000, messages, 1000);
        for (ssize_t index = 0; index < found; index++) {
            if (messages[index]->err) fail("consume", rd_kafka_message_errstr(messages[index]));
            rd_kafka_headers_t *headers;
            const void *value;
            size_t size;
            // The headers are parsed when they are first asked for.
            if (rd_kafka_message_headers(messages[index], &headers) == 0 &&
                rd_kafka_header_get_last(headers, "affinity", &value, &size) == 0)
                bytes += size;
            bytes += messages[index]->len + messages[index]->key_len;
            rd_kafka_message_destroy(messages[index]);
        }
        count += found > 0 ? found : 0;
    }
    printf("client/consume\t%.3f\t/s\n", (double)count / (now() - start));
    if (bytes == 0) fail("consume", "no bytes");
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

int main(int count, char **words) {
    if (count == 7 && strcmp(words[1], "produce") == 0) {
        produce(words[2], words[3], atoi(words[4]), atoi(words[5]), atof(words[6]));
    } else if (count == 6 && strcmp(words[1], "consume") == 0) {
        consume(words[2], words[3], atoi(words[4]), atol(words[5]));
    } else {
        fprintf(stderr, "usage: see the head of Benchmarks/KafkaClient/main.c\n");
        return 64;
    }
    return 0;
}
