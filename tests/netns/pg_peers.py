# SPDX-License-Identifier: Apache-2.0
"""A client of PostgreSQL made with psycopg; where the server is stands in the environment.

    pg_peers.py talk       a table, three rows in one batch, twenty selects with a parameter (prepared after five)
    pg_peers.py pipeline   forty selects that do not wait for each other
    pg_peers.py abort      five in a pipeline; the second one fails
    pg_peers.py cancel     a long one that is given up
"""

import sys
import threading

import psycopg


def talk():
    with psycopg.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE notes (a int)")
        cursor.executemany("INSERT INTO notes VALUES (%s)", [(1,), (2,), (3,)])
        for i in range(20):
            cursor.execute("SELECT a FROM notes WHERE a = %s", (i % 3 + 1,))
            assert cursor.fetchall() == [(i % 3 + 1,)]


def pipeline():
    with psycopg.connect() as connection, connection.pipeline():
        cursors = [connection.execute("SELECT generate_series(1, %s) FROM generate_series(1, 1)", (i,))
                   for i in range(1, 41)]
        for i, cursor in enumerate(cursors):
            assert len(cursor.fetchall()) == i + 1


def abort():
    """All five are sent before any answer is read: else the error may come before the last ones are."""
    with psycopg.connect(autocommit=True) as connection:
        pipeline = connection.pgconn
        pipeline.enter_pipeline_mode()
        for i in range(5):
            pipeline.send_query_params(b"SELECT 1 / $1::int", [b"0" if i == 1 else b"1"])
        pipeline.pipeline_sync()
        while (result := pipeline.get_result()) is None or result.status != psycopg.pq.ExecStatus.PIPELINE_SYNC:
            pass
        pipeline.exit_pipeline_mode()


def cancel():
    with psycopg.connect(autocommit=True) as connection:
        threading.Timer(0.3, connection.cancel).start()
        try:
            connection.execute("SELECT pg_sleep(60)")
        except psycopg.errors.QueryCanceled:
            pass


{"talk": talk, "pipeline": pipeline, "abort": abort, "cancel": cancel}[sys.argv[1]]()
