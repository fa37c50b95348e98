// What Transport is measured against: frames of one size, sent back as they come, by Asio alone. Two threads, one
// connection over the loopback, a fixed number of frames in flight.
#include <sys/resource.h>

#include <boost/asio.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

using boost::asio::ip::tcp;

namespace {
// A request of 100 bytes with its header and the name of its type.
constexpr size_t frame_size = 122;

double cpu_seconds() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    auto seconds = [](const timeval &t) { return double(t.tv_sec) + double(t.tv_usec) / 1e6; };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Sends back what comes, whole frames only; counts them.
struct Side {
    tcp::socket socket;
    std::vector<char> in = std::vector<char>(64 * 1024);
    std::vector<char> out;
    size_t held = 0;
    size_t frames = 0;

    explicit Side(boost::asio::io_context &io) : socket(io) {}

    void read() {
        socket.async_read_some(
            boost::asio::buffer(in.data() + held, in.size() - held), [this](boost::system::error_code error, size_t n) {
                if (error) return;
                held += n;
                size_t whole = held / frame_size * frame_size;
                frames += whole / frame_size;
                out.assign(in.data(), in.data() + whole);
                std::copy(in.data() + whole, in.data() + held, in.data());
                held -= whole;
                whole ? write() : read();
            });
    }

    void write() {
        boost::asio::async_write(
            socket, boost::asio::buffer(out), [this](boost::system::error_code error, size_t) {
                if (!error) read();
            });
    }
};
}  // namespace

int main(int argc, char **argv) {
    size_t in_flight = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 64;
    unsigned seconds = argc > 2 ? unsigned(std::strtoul(argv[2], nullptr, 10)) : 3;
    boost::asio::io_context asker_io{1}, answerer_io{1};
    Side asker(asker_io), answerer(answerer_io);
    tcp::acceptor acceptor(answerer_io, tcp::endpoint(boost::asio::ip::make_address("127.0.0.1"), 0));
    asker.socket.connect(acceptor.local_endpoint());
    acceptor.accept(answerer.socket);
    asker.socket.set_option(tcp::no_delay(true));
    answerer.socket.set_option(tcp::no_delay(true));

    asker.out.assign(in_flight * frame_size, 'x');
    asker.write();
    answerer.read();
    double before = cpu_seconds();
    std::thread asking([&] { asker_io.run(); }), answering([&] { answerer_io.run(); });
    std::this_thread::sleep_for(std::chrono::seconds(seconds));
    asker_io.stop();
    answerer_io.stop();
    asking.join();
    answering.join();
    double cpu = cpu_seconds() - before;
    std::printf("limit/%zu\t%.0f\t/s\n", in_flight, double(asker.frames) / seconds);
    std::printf("limit/%zu/cpu a side\t%.3f\tµs\n", in_flight, cpu / double(asker.frames) * 1e6 / 2);
}
