#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bugs planted on purpose: the simulator has to find each within its number of seeds.

    mutants.py BUILD [NAME...]        BUILD: build/release; last line `mutants: N passed, N failed`

Each is one change of one source file, compiled beside the others' objects and linked into a
relay_sim of its own.  One that does not compile, or whose text is no longer in its file, has failed.
"""

import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# name, file, text, in its place, seeds within which it must be found
MUTANTS = [
    ("push past a hole", "src/actors/connection_cursor.c",
     "if (cur->is_read_owed || (item->prev > cur->sent && item->id > cur->sent)) {",
     "if (cur->is_read_owed || item->prev > item->id) {", 50),
    ("a push after a failed read skips what is older", "src/actors/connection_cursor.c",
     "if (cur->is_read_owed || (item->prev > cur->sent && item->id > cur->sent)) {",
     "if (item->prev > cur->sent && (cur->sent != 0 || item->prev != UINT64_MAX)) {", 200),
    ("the inbox ends messages by the wall clock", "src/io/embedded_inbox.c",
     "\t\t                   .max_bytes = m->max_bytes };\n",
     "\t\t                   .max_bytes = m->max_bytes };\n"
     "\tstruct box *box = box_for(ctx, state, &m->owner);\n\n"
     "\twhile (!box_is_empty(box) && box_at(box, box->first)->buf != NULL &&\n"
     "\t       ((const struct record *)(const void *)(cx_buf_bytes(box_at(box, box->first)->buf) +\n"
     "\t                                              box_at(box, box->first)->offset))->wall_ms +\n"
     "\t\t       INT64_C(604800000) < cx_wall_ms(ctx))\n"
     "\t\tbox_remove(box, box_at(box, box->first));\n", 200),
    ("entries before connectSuccess", "src/actors/connection.c",
     "\t\tanswer(ctx, c, cx_buf_ref(msg->buf));\n\t\tbecome(ctx, c, CX_MSG_AS(struct account_answer, msg));",
     "\t\tbecome(ctx, c, CX_MSG_AS(struct account_answer, msg));\n\t\tconnection_ping(ctx, c);", 50),
    ("pong before the acknowledgement is stored", "src/actors/connection_ack.c",
     "if (c->settles == NULL)\n\t\tpong", "if (c->phase == CONNECTION_LIVE)\n\t\tpong", 50),
    ("acknowledgement answered before the log has it", "src/io/embedded_inbox.c",
     "\te->state = BOX_SETTLING;\n\te->question = inbox_pending_add(&s->pending, &p);",
     "\te->state = BOX_SETTLING;\n\tinbox_answer_settle(ctx, op->caller, INBOX_OK);\n\tp.caller.corr = 0;"
     "\n\te->question = inbox_pending_add(&s->pending, &p);", 200),
    ("accepted before the log has it", "src/actors/user_limiter.c",
     "\ts->step = AT_LOG;\n\treturn PASS;", "\ts->step = AT_LOG;\n\tfinish(s, ERROR_NONE);\n\treturn PASS;", 50),
    ("answers overtake each other", "src/actors/user_limiter.c",
     "while (l->first < l->gate && at(l, l->first)->step == DONE) {",
     "while (l->first < l->gate && (at(l, l->first)->step == DONE || l->gate - l->first > 2)) {", 50),
    ("a failed append is called accepted", "src/actors/user_limiter.c",
     "[LOG_FAILED] = ERROR_KAFKA_FAILURE", "[LOG_FAILED] = ERROR_NONE", 50),
    ("a refused batch is passed over", "src/actors/partition.c",
     "\t\t\t\tcx_timer_arm(ctx, &p->retry, RETRY_MS, TIMER_A); /* inv. 1 */\n\t\t\t\treturn;",
     "\t\t\t\tdrop_first(p);\n\t\t\t\tcontinue;", 50),
    ("an acknowledgement that failed keeps its message back", "src/io/embedded_inbox.c",
     "e->state = BOX_WAITING; /* inv. 3 */", "box_remove(box, e);", 200),
    ("receipts are forgotten before all connections have them", "src/actors/hub.c",
     "\tif (u->count == 0 || least <= u->settled)\n\t\treturn;",
     "\tleast = UINT64_MAX - 1;\n\tif (u->count == 0)\n\t\treturn;", 50),
    ("receipts confirmed when sent, not when they arrived", "src/actors/connection_cursor.c",
     "\t\tcur->receipt = id;\n\tif (cur->unconfirmed >=",
     "\t\tcur->receipt = id;\n\tif (hub_confirm(ctx, c->relay, &c->user, id) != CX_OK)\n\t\treturn;\n"
     "\tif (cur->unconfirmed >=", 500),
    ("a read skips what is in its way", "src/actors/connection_cursor.c",
     "\tjump_to(cur, m->next);\n", "\tjump_to(cur, m->next + 1);\n", 50),
    ("the tick does not read on after a lost push", "src/actors/connection.c",
     "\t\tcursor_tick(ctx, c);\n\t\tsession_look(ctx, c);\n", "\t\tsession_look(ctx, c);\n", 200),
    ("what other workers sent is taken newest first", "src/runtime/crossing.c",
     "struct cx_msg *first = NULL;\n\n\twhile (entry != NULL) {\n\t\tstruct cx_msg *const next",
     "struct cx_msg *first = NULL;\n\n\tif (entry != NULL)\n\t\treturn entry;\n\twhile (entry != NULL) {\n\t\tstruct cx_msg *const next", 50),
    ("a late answer is taken for another ask's", "src/runtime/ask.c",
     "if (corr == 0 || ask->corr != corr || ask->actor != a)", "if (corr == 0 || ask->actor != a)", 500),
    # These only several connections of a user find.
    ("the hub forgets the second connection", "src/actors/hub.c",
     "for (uint32_t k = 0; u != NULL && k < u->count; k++)", "for (uint32_t k = 0; u != NULL && k < 1; k++)", 50),
    ("whoever leaves takes the newest connection along", "src/actors/hub.c",
     "\t\tremove_at(ctx, hub, u, i);\n\t\tgive_up_receipts(ctx, hub, u);",
     "\t\tremove_at(ctx, hub, u, u->count - 1);\n\t\tgive_up_receipts(ctx, hub, u);", 50),
    ("receipts are forgotten when the oldest connection has them", "src/actors/hub.c",
     "if (u->members[i].confirmed < least)", "if (i == 0)", 200),
    ("the newest connection is displaced", "src/actors/hub.c",
     "\t\tkick(ctx, u, &u->members[0], 4409);\n\t\tremove_at(ctx, hub, u, 0);",
     "\t\tkick(ctx, u, &u->members[u->count - 1], 4409);\n\t\tremove_at(ctx, hub, u, u->count - 1);", 50),
    ("one connection too many is let in", "src/actors/hub.c",
     "while (u->count > hub->relay->max_connections_per_user) {",
     "while (u->count > hub->relay->max_connections_per_user + 1) {", 200),
    # These only sessions that end.
    ("a connection does not ask whether its session lives", "src/actors/connection.c",
     "\tsession_look(ctx, c); /* after the join: connection_session.c, 1 */\n", "", 50),
    ("the end of a session spares its oldest connection", "src/actors/hub.c",
     "for (uint32_t i = u == NULL ? 0 : u->count; i-- > 0;) {",
     "for (uint32_t i = u == NULL ? 0 : u->count; i-- > 1;) {", 50),
    ("an acknowledgement on its way counts as stored for other connections", "src/io/embedded_inbox.c",
     "\tif (e == NULL) {\n\t\tinbox_answer_settle(ctx, op->caller, INBOX_UNKNOWN);",
     "\tif (e == NULL || e->id > 0) {\n\t\tinbox_answer_settle(ctx, op->caller, INBOX_UNKNOWN);", 500),
    ("a refused question about the session is not asked again", "src/actors/connection_session.c",
     "\t\tc->session_corr = 0;\n\t\tlook_in(ctx, c, RETRY_MS);\n", "\t\tc->session_corr = 0;\n", 1000),
    # These only readers that stall.
    ("what is sent does not use up the window", "src/actors/connection_cursor.c",
     "\tcur->window -= len;\n", "", 50),
    ("a push does not look at the window", "src/actors/connection_cursor.c",
     "if (cur->read_corr != 0 || !is_open(c))\n\t\treturn;\n\tif (cur->is_read_owed",
     "if (cur->read_corr != 0 || c->phase != CONNECTION_LIVE)\n\t\treturn;\n\tif (cur->is_read_owed", 50),
    # These only frames in another's name.
    ("a message in another's name is taken", "src/actors/connection.c",
     "if (!uuid_equal(&m->from.user, &c->user) || !user", "if (!user", 50),
    ("the client says whose inbox it acknowledges", "src/actors/connection_ack.c",
     "&c->user, &ack->id,\n\t                 ack->has_from ? &ack->from.user : NULL,",
     "ack->has_from ? &ack->from.user : &c->user, &ack->id, NULL,", 50),
    # These only a log that crashes.
    ("an acknowledgement that is not answered keeps its message back", "src/io/embedded_inbox.c",
     "\t\tdo\n\t\t\tfinish_settle(ctx, s, &p, false);\n", "\t\tdo\n\t\t\tp.id = 0;\n", 500),
    ("an append that is not answered is called accepted", "src/actors/user_limiter.c",
     "\tfinish(s, ERROR_KAFKA_FAILURE);\n\trelease(ctx, l);\n}\n\nstatic void on_retry",
     "\tfinish(s, ERROR_NONE);\n\trelease(ctx, l);\n}\n\nstatic void on_retry", 100),
]


def flags(build):
    """Compiler, flags before the slash, and libraries, as the build wrote them down."""
    text = (ROOT / build / "flags").read_text()
    return text.split(" / ")


def build_mutant(build, folder, source, text):
    mutant = folder / pathlib.Path(source).name
    mutant.write_text(text)
    compile_flags, _, link = flags(build)
    obj = folder / "mutant.o"
    done = subprocess.run(f"{compile_flags} -w -I{ROOT / 'tests'} -c -o {obj} {mutant}", shell=True,
                          cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr
    sim_objs = " ".join(str(p) for p in sorted((ROOT / build / "obj/tests/sim").glob("*.o")))
    program = folder / "relay_sim"
    compiler = compile_flags.split()[0]
    done = subprocess.run(
        f"{compiler} -o {program} {obj} {sim_objs} {build}/libconstruct.a {build}/libcx.a"
        f" -Wl,--allow-multiple-definition {link}", shell=True, cwd=ROOT, capture_output=True, text=True)
    return (program, "") if done.returncode == 0 else (None, done.stderr)


def seeds_until_found(program, limit):
    """How many seeds it took, or None."""
    for seed in range(1, limit + 1):
        try:
            done = subprocess.run([program, "--brief", "--seconds", "30", str(seed), "1"], capture_output=True, timeout=60)
        except subprocess.TimeoutExpired:
            return seed
        if done.returncode != 0:
            return seed
    return None


def judge(build, name, source, old, new, limit):
    text = (ROOT / source).read_text()
    if text.count(old) != 1:
        return f"its text stands {text.count(old)} times in {source}"
    with tempfile.TemporaryDirectory() as tmp:
        program, why = build_mutant(build, pathlib.Path(tmp), source, text.replace(old, new))
        if program is None:
            return f"does not build: {why[-400:]}"
        found = seeds_until_found(program, limit)
    if found is None:
        return f"not found in {limit} seeds"
    print(f"  ok   {name}: seed {found} of {limit}", flush=True)
    return None


def main():
    build, wanted = sys.argv[1], sys.argv[2:]
    passed = failed = 0
    for name, *rest in MUTANTS:
        if wanted and name not in wanted:
            continue
        why = judge(build, name, *rest)
        if why is None:
            passed += 1
        else:
            failed += 1
            print(f"  FAIL {name}: {why}", flush=True)
    print(f"mutants: {passed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
