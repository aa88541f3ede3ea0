/* protocol.pml: the slabs, as src/slab/slab.c, src/heap/heap.c, remote.c and adopt.c move them, one Promela step for
 * each step that another thread can see. Included by the models, which choose the sizes and the threads:
 *
 *   SLABS, PER   slabs there may be, and objects in each
 *   HEAPS        thread heaps
 *   FINE         1: a thread may vanish between any two stores of its own (fork); 0: those between which nobody else
 *                can look are one step
 *
 * An object is a number from 1, slab after slab; 0 is NULL. Lists of slabs are a field of the slab that says in which
 * list it stands: they are written by one thread, or under a lock, so their links say nothing new. The free list and the
 * remote list (both through the links, out of line) and the mailbox are linked as in the code. One size class; a slab's
 * reserve is one object.
 *
 * ghost[] is what is true of an object, whatever the lists say; place[] where a mailed slab is. Neither is read by a
 * step of the protocol. */

#define OBJECTS (SLABS * PER)
#define SLAB_OF(o) (((o) - 1) / PER + 1)
#define FIRST(s) (((s) - 1) * PER + 1)
#define CLOSED 99  /* LM_MAILBOX_CLOSED */
#define ORPHANS 98 /* the list of orphans */
#define OUT 97     /* LM_LIVE, as a link: the object is handed out */
#define SENT 100   /* LM_AWAY, to be added to a link: it has been freed by another thread */

/* span->kind */
#define SPAN_FREE 0
#define CURRENT 1
#define PARTIAL 2
#define FULL 3

/* ghost */
#define NOTHING 0 /* its slab is not there, or it has not been carved */
#define HOME 1    /* free, in the slab's list or in the owner's hands on the way there */
#define AWAY 2    /* freed by another thread and travelling: bucket or remote list */
#define LIVE 3    /* LIVE + t: handed out, thread t will free it */
#define POPPED 9  /* in the hands of the thread that pops it */

/* place */
#define NOWHERE 0
#define HANDS 1
#define MAILBOX 2

#if FINE
#define TOGETHER
#else
#define TOGETHER atomic
#endif

typedef Slab {
    byte owner; /* heap, or 0 */
    byte kind, countdown, carved;
    byte free; /* head */
    bit made;  /* has its annex: links, remote, mail_next */
    byte remote; bit mailed; /* one word in the code; always written together */
    byte mail_next;
    byte list; /* heap, ORPHANS, or 0 */
}
Slab slab[SLABS + 1];
byte link[OBJECTS + 1]; /* in the annex */
byte ghost[OBJECTS + 1], place[SLABS + 1];
byte mailbox[HEAPS + 1], current[HEAPS + 1];
bit busy[HEAPS + 1], idle[HEAPS + 1];
byte heaps_lock, orphans_lock, pages_lock; /* _pid + 1 of the holder */

#define LOCALS \
    byte my, o, s, t, head, last, n, live, seen, own, id, was, got; \
    bit done; \
    byte bucket_slab, bucket_head, bucket_tail

#define TAKE(lock) atomic { lock == 0 -> lock = _pid + 1 }
#define RELEASE(lock) lock = 0

/* -- slab/slab.c ---------------------------------------------------------------------------------------------- */

/* lm_slab_send */
inline send(object, to)
{
    link[object] = SENT + to
}

/* lm_slab_push_remote; sets done when the caller has taken the mailed bit. */
inline push_remote(sl, first, tail)
{
    assert(slab[sl].kind != SPAN_FREE && slab[sl].made); /* a block of it is in our hands */
    assert(link[tail] == SENT); /* else lm_slab_die_twice */
    seen = slab[sl].remote;
    do
    :: send(tail, seen);
       d_step {
           got = slab[sl].remote == seen;
           if
           :: got ->
               done = !slab[sl].mailed;
               slab[sl].remote = first;
               slab[sl].mailed = 1;
               if
               :: done -> assert(place[sl] == NOWHERE); place[sl] = HANDS /* else two would deliver */
               :: else
               fi
           :: else -> seen = slab[sl].remote
           fi
       }
       if
       :: got -> break
       :: else
       fi
    od;
    got = 0; seen = 0
}

/* lm_slab_collect; n says how many objects came home. */
inline collect(sl, delivered)
{
    d_step {
        assert(slab[sl].made);
        head = slab[sl].remote;
        slab[sl].remote = 0;
        n = 0;
#ifdef MUTANT_COLLECT_CLEARS
        slab[sl].mailed = 0;
#endif
        if
        :: delivered -> slab[sl].mailed = 0; place[sl] = NOWHERE
        :: else
        fi
    }
    TOGETHER {
        last = slab[sl].free;
        do
        :: head ->
            d_step {
                assert(link[head] >= SENT); /* else lm_slab_die_twice */
                assert(ghost[head] == AWAY);
                got = link[head] - SENT;
                link[head] = last; /* from here on it is free, whatever head says */
                ghost[head] = HOME;
                n++;
                last = head;
                head = got;
                got = 0
            }
        :: else -> break
        od;
        slab[sl].free = last;
        last = 0
    }
}

/* lm_slab_pop, of a list that is not empty, for thread `to`. Its two stores may come in either order. */
inline pop(sl, to)
{
    TOGETHER {
        d_step {
            o = slab[sl].free;
            assert(link[o] < OUT);
            assert(ghost[o] == HOME); /* else handed out twice */
            ghost[o] = POPPED
        }
        if
        :: slab[sl].free = link[o]; link[o] = OUT
#if FINE
        :: d_step { last = link[o]; link[o] = OUT }
           slab[sl].free = last;
        last = 0
#endif
        fi;
        d_step { ghost[o] = LIVE + to; o = 0 }
    }
}

/* lm_slab_count_free */
inline count_free(sl)
{
    d_step {
        n = 0;
        last = FIRST(sl);
        do
        :: last < FIRST(sl) + slab[sl].carved -> n = n + (link[last] < OUT); last++
        :: else -> break
        od;
        last = 0
    }
}

/* lm_span_free */
inline span_free(sl)
{
#if FINE
    TAKE(pages_lock);
#endif
    d_step {
        assert(!slab[sl].mailed && place[sl] == NOWHERE); /* somebody will look into it */
        assert(slab[sl].remote == 0);
        last = FIRST(sl);
        do
        :: last < FIRST(sl) + PER -> assert(ghost[last] <= HOME); ghost[last] = NOTHING; last++
        :: else -> break
        od;
        last = 0;
        slab[sl].kind = SPAN_FREE;
        slab[sl].owner = 0;
        slab[sl].made = 0;
        slab[sl].free = 0;
        slab[sl].carved = 0;
        slab[sl].countdown = 0;
        slab[sl].mail_next = 0
    }
#if FINE
    RELEASE(pages_lock)
#endif
}

/* lm_slab_create, then lm_slab_carve of all objects at once; s says which, 0: no memory. */
inline slab_create(heap)
{
    TOGETHER {
#if FINE
        TAKE(pages_lock);
#endif
        d_step {
            s = SLABS;
            do
            :: s && slab[s].kind != SPAN_FREE -> s--
            :: else -> break
            od;
            if
            :: s -> slab[s].kind = CURRENT
            :: else
            fi
        }
#if FINE
        RELEASE(pages_lock);
#endif
        if
        :: s -> slab[s].made = 1; slab[s].owner = heap
        :: else
        fi
    }
}

inline carve(sl)
{
    TOGETHER {
        d_step {
            last = FIRST(sl);
            do
            :: last < FIRST(sl) + PER ->
                link[last] = (last + 1 < FIRST(sl) + PER -> last + 1 : 0);
                last++
            :: else -> break
            od
        }
        d_step {
            slab[sl].carved = PER;
            last = FIRST(sl);
            do
            :: last < FIRST(sl) + PER -> ghost[last] = HOME; last++
            :: else -> break
            od;
            last = 0
        }
        slab[sl].free = FIRST(sl)
    }
}

/* -- heap/heap.c: states of slabs -------------------------------------------------------------------------------- */

/* lm_lists_give */
inline give(lists, sl, alive)
{
    assert(slab[sl].list == 0);
    if
#ifdef MUTANT_RELEASE_MAILED
    :: alive == 0 ->
#else
    :: alive == 0 && !slab[sl].mailed ->
#endif
        slab[sl].owner = 0;
        span_free(sl)
    :: else ->
        TOGETHER {
            slab[sl].kind = (alive < PER -> PARTIAL : FULL);
            slab[sl].countdown = (alive < PER -> alive : 1);
            slab[sl].list = lists
        }
    fi
}

/* lm_lists_credit */
inline credit(lists, sl, freed)
{
    if
    :: slab[sl].kind == CURRENT
    :: slab[sl].kind != CURRENT && freed < slab[sl].countdown -> slab[sl].countdown = slab[sl].countdown - freed
    :: else ->
        TOGETHER {
            live = (slab[sl].kind == FULL -> PER - (1 - slab[sl].countdown) : slab[sl].countdown) - freed;
            assert(live <= PER);             /* else more came home than were out */
            assert(slab[sl].list == lists); /* else the unlink writes somebody else's list */
            slab[sl].list = 0
        }
        give(lists, sl, live);
        live = 0
    fi
}

/* A slab whose last objects were collected on its way, and which waited only for its mailed bit to clear. */
inline settle(lists, sl)
{
    if
    :: n -> credit(lists, sl, n)
    :: n == 0 && slab[sl].kind == PARTIAL && slab[sl].countdown == 0 ->
        assert(slab[sl].list == lists);
        slab[sl].list = 0;
        give(lists, sl, 0)
    :: else
    fi;
    n = 0
}

/* -- heap/adopt.c ------------------------------------------------------------------------------------------------- */

/* lm_orphans_receive; done says that it was an orphan. */
inline orphans_receive(sl)
{
    TAKE(orphans_lock);
#ifdef MUTANT_ORPHAN_UNCHECKED
    done = 1;
#else
    done = slab[sl].owner == 0;
#endif
    if
    :: done -> collect(sl, 1); settle(ORPHANS, sl)
    :: else
    fi;
    RELEASE(orphans_lock)
}

/* lm_orphans_take; s says which, 0: none. */
inline orphans_take(heap)
{
    s = 0;
    TAKE(orphans_lock);
    if
    :: d_step { slab[1].list == ORPHANS && slab[1].kind == PARTIAL -> slab[1].list = 0; s = 1 }
#if SLABS > 1
    :: d_step { slab[2].list == ORPHANS && slab[2].kind == PARTIAL -> slab[2].list = 0; s = 2 }
#endif
    :: else
    fi;
    if
    :: s -> slab[s].owner = heap
    :: else
    fi;
    RELEASE(orphans_lock)
}

/* orphan_add */
inline orphan_add(sl, alive)
{
    slab[sl].owner = 0;
    give(ORPHANS, sl, alive)
}

/* lm_orphans_add_all */
inline orphans_add_all(heap)
{
    TAKE(orphans_lock);
    s = current[heap];
    if
    :: s ->
        current[heap] = 0;
        collect(s, 0);
        count_free(s);
        live = slab[s].carved - n;
        n = 0;
        orphan_add(s, live)
    :: else
    fi;
    s = SLABS;
    do
    :: s && slab[s].list == heap ->
        TOGETHER {
            live = (slab[s].kind == FULL -> PER - (1 - slab[s].countdown) : slab[s].countdown);
            slab[s].list = 0
        }
        orphan_add(s, live);
        s--
    :: s && slab[s].list != heap -> s--
    :: else -> break
    od;
    live = 0;
    RELEASE(orphans_lock)
}

/* -- heap/remote.c ------------------------------------------------------------------------------------------------ */

/* lm_remote_deliver, by the holder of the mailed bit. */
inline deliver(sl)
{
    done = 0;
    do
    :: done -> break
    :: else ->
        d_step { own = slab[sl].owner; assert(slab[sl].mailed && place[sl] == HANDS) }
        if
        :: own ->
            d_step {
                seen = mailbox[own];
                /* a thread disowns its slabs before it closes its mailbox; else this would never end */
                assert(seen != CLOSED || slab[sl].owner != own)
            }
            do
            :: seen == CLOSED -> break
            :: else ->
                d_step { assert(place[sl] == HANDS); slab[sl].mail_next = seen }
                d_step {
                    if
                    :: mailbox[own] == seen -> mailbox[own] = sl; place[sl] = MAILBOX; done = 1
                    :: else -> seen = mailbox[own]
                    fi
                }
                if
                :: done -> break
                :: else
                fi
            od
        :: else -> orphans_receive(sl)
        fi
    od;
    atomic { done = 0; own = 0; seen = 0 }
}

/* What a taken mailbox holds is in the taker's hands. */
inline in_hands(first)
{
    last = first;
    do
    :: last -> assert(place[last] == MAILBOX); place[last] = HANDS; last = slab[last].mail_next
    :: else -> break
    od
}

/* lm_remote_receive; the caller's own mailbox. */
inline receive(heap)
{
    if
    :: mailbox[heap] == 0
    :: else ->
        d_step { id = mailbox[heap]; mailbox[heap] = 0; in_hands(id); last = 0 }
        do
        :: id == 0 -> break
        :: else ->
            s = id;
            id = slab[s].mail_next;
            if
#ifdef MUTANT_RECEIVE_UNCHECKED
            :: 0 ->
#else
            :: slab[s].owner != heap ->
#endif
                deliver(s)
            :: else ->
                collect(s, 1);
#ifdef MUTANT_UNSETTLED
                if
                :: n -> credit(heap, s, n); n = 0
                :: else
                fi
#else
                settle(heap, s)
#endif
            fi
        od
    fi
}

/* lm_remote_close */
inline close(heap)
{
    d_step { id = mailbox[heap]; mailbox[heap] = CLOSED; in_hands(id); last = 0 }
    do
    :: id == 0 -> break
    :: else ->
        s = id;
        id = slab[s].mail_next;
        deliver(s)
    od
}

/* remote_send */
inline bucket_send()
{
    push_remote(bucket_slab, bucket_head, bucket_tail);
    s = bucket_slab;
    d_step { bucket_slab = 0; bucket_head = 0; bucket_tail = 0 }
    if
    :: done -> deliver(s)
    :: else
    fi;
    s = 0
}

/* lm_remote_free of a thread with a heap: one bucket; full when the model says so, by bucket_send. */
inline bucket_free(object)
{
    if
    :: bucket_slab && bucket_slab != SLAB_OF(object) -> bucket_send()
    :: else
    fi;
    TOGETHER {
        if
        :: bucket_slab == 0 -> bucket_slab = SLAB_OF(object); bucket_tail = object
        :: else
        fi;
        assert(link[object] == OUT);
        send(object, bucket_head);
        bucket_head = object
    }
}

/* lm_remote_free of a thread without one. */
inline straight_free(object)
{
    s = SLAB_OF(object);
    assert(link[object] == OUT);
    send(object, 0);
    push_remote(s, object, object);
    if
    :: done -> deliver(s)
    :: else
    fi;
    s = 0
}

/* -- a thread's malloc and free --------------------------------------------------------------------------------------- */

/* lm_heap_push, of a block of one's own slab. */
inline free_local(object)
{
    s = SLAB_OF(object);
    TOGETHER {
        d_step { assert(link[object] == OUT); link[object] = slab[s].free; ghost[object] = HOME }
        slab[s].free = object
    }
    if
    :: slab[s].kind == CURRENT
    :: slab[s].kind != CURRENT && slab[s].countdown > 1 -> slab[s].countdown = slab[s].countdown - 1
    :: else -> slab[s].countdown = 1; credit(my, s, 1) /* lm_heap_push_zero */
    fi;
    s = 0
}

/* lm_heap_take, with heap_next_slab; the object goes to thread `to`, or there is no memory. */
inline heap_malloc(to)
{
    s = current[my];
    if
    :: s && slab[s].free == 0 -> collect(s, 0)
    :: else
    fi;
    if
    :: s && slab[s].free == 0 && slab[s].carved == 0 -> carve(s)
    :: else
    fi;
    if
    :: s && slab[s].free -> pop(s, to)
    :: else ->
        receive(my);
        s = current[my];
        if
        :: s && slab[s].free -> pop(s, to)
        :: else ->
            s = 0;
            if
            :: d_step { slab[1].list == my && slab[1].kind == PARTIAL -> slab[1].list = 0; s = 1 }
#if SLABS > 1
            :: d_step { slab[2].list == my && slab[2].kind == PARTIAL -> slab[2].list = 0; s = 2 }
#endif
            :: else
            fi;
            if
            :: s == 0 -> orphans_take(my)
            :: else
            fi;
            if
            :: s == 0 && bucket_slab -> bucket_send()
            :: else
            fi;
            if
            :: s == 0 -> slab_create(my)
            :: else
            fi;
            if
            :: s ->
                was = current[my];
                TOGETHER { current[my] = s; slab[s].kind = CURRENT }
                if
                :: was -> count_free(was); live = slab[was].carved - n; n = 0; give(my, was, live); live = 0; was = 0
                :: else
                fi;
                if /* round again: the slab has something to give */
                :: slab[s].free == 0 -> collect(s, 0)
                :: else
                fi;
                if
                :: slab[s].free == 0 && slab[s].carved == 0 -> carve(s)
                :: else
                fi;
                assert(slab[s].free);
                pop(s, to)
            :: else
            fi
        fi
    fi;
    s = 0; n = 0
}

/* lm_heap_release_current */
inline release_current()
{
    s = current[my];
    if
    :: s && !slab[s].mailed ->
        count_free(s);
        if
        :: n == slab[s].carved -> n = 0; current[my] = 0; give(my, s, 0)
        :: else -> n = 0
        fi
    :: else
    fi;
    s = 0
}

/* heap_obtain and lm_heap_attach */
inline attach()
{
    TAKE(heaps_lock);
    d_step {
        my = HEAPS;
        do
        :: my && !idle[my] -> my--
        :: else -> break
        od
    }
    assert(my); /* there are as many heaps as threads */
    idle[my] = 0;
#ifndef MUTANT_BUSY_LATE
    busy[my] = 1;
#endif
    RELEASE(heaps_lock);
#ifdef MUTANT_BUSY_LATE
    busy[my] = 1;
#endif
    mailbox[my] = 0
}

/* heap_detach */
inline detach()
{
    if
    :: bucket_slab -> bucket_send()
    :: else
    fi;
    receive(my);
#ifdef MUTANT_CLOSE_FIRST
    close(my);
    orphans_add_all(my);
#else
    orphans_add_all(my);
    close(my);
#endif
    TAKE(heaps_lock);
    busy[my] = 0;
    idle[my] = 1;
    RELEASE(heaps_lock);
    my = 0; s = 0
}

/* Objects beyond the last have the ghost of the first. */
#define GHOST(o) ghost[(o <= OBJECTS -> o : 1)]
#define HOLDS_NOTHING(t) (GHOST(1) != LIVE + t && GHOST(2) != LIVE + t && GHOST(3) != LIVE + t && GHOST(4) != LIVE + t)

/* An object that thread `me` is to free, into o; blocks while there is none. */
inline choose_mine(me)
{
    if
    :: ghost[1] == LIVE + me -> o = 1
#if OBJECTS > 1
    :: ghost[2] == LIVE + me -> o = 2
#endif
#if OBJECTS > 2
    :: ghost[3] == LIVE + me -> o = 3
#endif
#if OBJECTS > 3
    :: ghost[4] == LIVE + me -> o = 4
#endif
    fi
}
