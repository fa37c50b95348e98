#include "constant.hpp"

#include "exchange.hpp"

namespace cb {
const cb_websocket_events Broadcast::events = {
    [](void *context, bool is_text, const uint8_t *bytes, size_t count) {
        static_cast<Member *>(context)->broadcast->send(is_text, {reinterpret_cast<const char *>(bytes), count});
    },
    [](void *) {}, [](void *) {},
    [](void *context, int, const uint8_t *, size_t, int) {
        auto member = static_cast<Member *>(context);
        member->broadcast->remove(member);
    }};

void Broadcast::accept(cb_exchange *exchange) {
    cb_websocket_options options{};
    options.message_max = 1 << 20;
    options.unsent_max = unsent_max;
    options.ping_ns = options.pong_ns = options.close_ns = options.write_ns = options.message_ns =
        30'000'000'000;
    exchange->begin(101);
    auto socket = exchange->end_with_websocket(options, {});
    if (!socket) return;
    auto member = new Member{this, socket};
    members_.at(&socket->loop()).push_back(member);
    socket->attach(member, &events);
}

void Broadcast::remove(Member *member) {
    std::erase(members_.at(&member->socket->loop()), member);
    member->socket->release();
    delete member;
}

void Broadcast::send(bool is_text, std::string_view message) {
    struct Round {
        std::vector<Member *> *members;
        cb_frame *frame;
    };
    auto run = [](void *box, void *) {
        auto round = static_cast<Round *>(box);
        for (auto member : *round->members) {
            if (member->socket->unsent() <= unsent_max) member->socket->send(round->frame);
        }
        round->frame->release();
        delete round;
    };
    auto frame = new cb_frame(is_text, message);
    for (auto loop : loops_) {
        frame->retain();
        auto round = new Round{&members_.at(loop), frame};
        if (loop->post({run, round, nullptr})) continue;
        frame->release();
        delete round;
    }
    frame->release();
}
}  // namespace cb
