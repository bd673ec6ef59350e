/* The locks of the 3.0 era in Promela, written from their C sources' meaning and not from their machine code, with a
 * FIFO store buffer a CPU. `spin` gives the verdicts that Palimpsest's own machine has to agree with.
 *
 * -DCPUS=n -DROUNDS=n
 * -DLOCK_TICKET | -DLOCK_XEN                             how the lock is taken
 * -DUNLOCK_TICKET | -DUNLOCK_XEN | -DUNLOCK_NONE | -DUNLOCK_TWO
 * -DNO_LOCK_PREFIX   the ticket is drawn with two steps
 * -DNO_FENCE         Xen's unlock without the barrier between its store and its load
 * -DNO_KICK          Xen's unlock wakes nobody
 * -DSC               stores reach memory at once
 *
 * A spin is a guard that blocks: a CPU that could only spin for ever makes an invalid end state.
 */

/* The lock word: byte 0 is the ticket's head and Xen's lock byte, byte 1 the ticket's tail, then Xen's spinners. */
byte head, tail, spinners;
bool spinning[CPUS];
bool pending[CPUS];
byte holders;

/* Places of buffered stores. */
#define HEAD 0
#define WORD 1
#define SPINNING 2
chan buffer[CPUS] = [4] of { byte, byte, byte };

#define drained (len(buffer[me]) == 0)

inline apply(cpu, place, a, b)
{
  if
  :: place == HEAD -> head = a
  :: place == WORD -> head = a; tail = b
  :: place == SPINNING -> spinning[cpu] = a
  fi
}

inline put(place, a, b)
{
#ifdef SC
  atomic { apply(me, place, a, b) }
#else
  buffer[me] ! place, a, b
#endif
}

proctype drain(byte cpu)
{
  byte place, a, b;
end:
  do
  :: atomic { buffer[cpu] ? place, a, b -> apply(cpu, place, a, b) }
  od
}

proctype cpu(byte me)
{
  byte round, ticket, old, i;
  do
  :: round == ROUNDS -> break
  :: else ->

#ifdef LOCK_TICKET
#ifdef NO_LOCK_PREFIX
    /* The load sees the CPU's own buffered store first; waiting for the drain is one of its orders, and enough here. */
    atomic { drained -> old = head; ticket = tail }
    put(WORD, old, ticket + 1);
    if
    :: old == ticket
    :: else -> head == ticket
    fi;
#else
    atomic { drained -> ticket = tail; tail = tail + 1; old = head }
    if
    :: old == ticket
    :: else -> head == ticket
    fi;
#endif
#endif

#ifdef LOCK_XEN
again:
    atomic { drained -> old = head; head = 1 }
    if
    :: old == 0 -> goto got
    :: else
    fi;
    if
    :: head == 0 -> goto again
    :: true     /* the spin's count runs out */
    fi;
    put(SPINNING, 1, 0);
    atomic { drained -> spinners++ }
    atomic { drained -> pending[me] = false }
    atomic { drained -> old = head; head = 1 }
    if
    :: old == 0 ->
      atomic { drained -> spinners-- }
      put(SPINNING, 0, 0);
      goto got
    :: else
    fi;
    atomic { drained && pending[me] }   /* SCHEDOP_poll */
    atomic { drained -> spinners-- }
    put(SPINNING, 0, 0);
    goto again;
got:
#endif

    holders++;
    assert(holders == 1);
    holders--;

#ifdef UNLOCK_TICKET
    atomic { drained -> old = head }
    put(HEAD, old + 1, 0);
#endif
#ifdef UNLOCK_TWO
    atomic { drained -> old = head }
    put(HEAD, old + 2, 0);
#endif
#ifdef UNLOCK_XEN
    put(HEAD, 0, 0);
#ifndef NO_FENCE
    drained;
#endif
#ifndef NO_KICK
    if
    :: spinners == 0
    :: else ->
      i = 0;
      do
      :: i == CPUS -> break
      :: i < CPUS && spinning[i] -> atomic { drained -> pending[i] = true } break
      :: i < CPUS && !spinning[i] -> i++
      od
    fi;
#endif
#endif
    round++
  od
}

init {
  byte n;
  atomic {
    do
    :: n == CPUS -> break
    :: else ->
      run drain(n);
      run cpu(n);
      n++
    od
  }
}
