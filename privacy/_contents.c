/* The distinct strings and numbers of JSON documents, in one pass.

   contents(documents, seed) -> (strings, numbers), or None where the documents are for a parser.

   `strings` are the texts of all strings and names, `numbers` all numbers as they are written. For
   the output gate, which searches what is about to leave: it shares nothing with the code by which
   documents are made or read (privacy/_apart.c).

   For a parser are documents that hold a backslash, anything outside of strings that is no mark, no
   number and no word of JSON's, and what is no UTF-8. Whether marks are where they belong is not
   looked at: that changes nothing about which strings there are.

   A string that was met before is found by its bytes in a table, before anything is made of it. The
   seed makes nobody able to say which strings get in each other's way there; where too many do all
   the same, the documents are for a parser, too.

   walked(nodes, context, texts, pending, below) -> (keys, deepest)

   The same gate's walk through the source: every text that stands below these objects goes to the
   texts of its context and name (`_Walk` in privacy/gate.py says it in Python, and is what there is
   without a compiler). What stands too deep is put off: `pending`, by context. Nothing is judged
   here: what a name says of what stands below it is asked of `below`. The objects are the caller's
   alone, and nobody changes them meanwhile.
*/
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#define FIRST_SLOTS 1024 /* a power of two */
#define MOST_STEPS 256

typedef struct {
    const unsigned char *from; /* NULL where the slot is free */
    size_t size;
    uint64_t hash;
} Slot;

typedef struct {
    Slot *slots;
    size_t mask, used;
    uint64_t seed;
} Table;

static int begin(Table *table, uint64_t seed) {
    table->slots = PyMem_Calloc(FIRST_SLOTS, sizeof(Slot));
    table->mask = FIRST_SLOTS - 1;
    table->used = 0;
    table->seed = seed;
    if (table->slots == NULL)
        PyErr_NoMemory();
    return table->slots != NULL;
}

static uint64_t hash_of(uint64_t hash, const unsigned char *at, size_t size) {
    uint64_t word;
    hash ^= size * 0x9E3779B97F4A7C15u;
    for (; size >= 8; at += 8, size -= 8) {
        memcpy(&word, at, 8);
        hash = (hash ^ word) * 0xFF51AFD7ED558CCDu;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, at, size);
    hash = (hash ^ word) * 0xC4CEB9FE1A85EC53u;
    return hash ^ hash >> 29;
}

/* The slot of this text, or the free one where it belongs; NULL after too many steps. */
static Slot *slot_of(const Table *table, const Slot *wanted) {
    size_t at = (size_t)wanted->hash;
    for (int step = 0; step < MOST_STEPS; step++, at++) {
        Slot *slot = &table->slots[at & table->mask];
        if (slot->from == NULL)
            return slot;
        if (slot->hash == wanted->hash && slot->size == wanted->size &&
            memcmp(slot->from, wanted->from, wanted->size) == 0)
            return slot;
    }
    return NULL;
}

/* False, with an error or without, where this can't go on. */
static int grow(Table *table) {
    size_t old = table->mask + 1;
    Slot *slots = table->slots;
    table->slots = PyMem_Calloc(2 * old, sizeof(Slot));
    table->mask = 2 * old - 1;
    for (size_t i = 0; table->slots != NULL && i < old; i++) {
        Slot *slot = slots[i].from == NULL ? NULL : slot_of(table, &slots[i]);
        if (slots[i].from != NULL && slot == NULL) {
            PyMem_Free(slots);
            return 0;
        }
        if (slot != NULL)
            *slot = slots[i];
    }
    PyMem_Free(slots);
    if (table->slots == NULL)
        PyErr_NoMemory();
    return table->slots != NULL;
}

static int add(Table *table, const unsigned char *from, const unsigned char *to) {
    Slot wanted = {from, (size_t)(to - from), 0}, *slot;
    wanted.hash = hash_of(table->seed, from, wanted.size);
    if ((slot = slot_of(table, &wanted)) == NULL)
        return 0;
    if (slot->from != NULL)
        return 1;
    *slot = wanted;
    return 2 * ++table->used <= table->mask || grow(table);
}

static PyObject *texts_of(const Table *table) {
    PyObject *texts = PySet_New(NULL);
    for (size_t i = 0; texts != NULL && i <= table->mask; i++) {
        const Slot *slot = &table->slots[i];
        PyObject *text;
        if (slot->from == NULL)
            continue;
        text = PyUnicode_DecodeUTF8((const char *)slot->from, (Py_ssize_t)slot->size, NULL);
        if (text == NULL || PySet_Add(texts, text) < 0)
            Py_CLEAR(texts);
        Py_XDECREF(text);
    }
    return texts;
}

static const unsigned char *digits(const unsigned char *at, const unsigned char *end) {
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* As JSON spells numbers, and no other way; NULL for all else. */
static const unsigned char *number_end(const unsigned char *at, const unsigned char *end) {
    const unsigned char *from;
    at += *at == '-';
    from = at;
    at = digits(at, end);
    if (at == from || (*from == '0' && at > from + 1))
        return NULL;
    if (at < end && *at == '.') {
        from = at + 1;
        if ((at = digits(from, end)) == from)
            return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        from = at + 1;
        from += from < end && (*from == '-' || *from == '+');
        if ((at = digits(from, end)) == from)
            return NULL;
    }
    return at < end && strchr(",]} \n\r\t", *at) == NULL ? NULL : at;
}

static const unsigned char *word_end(const unsigned char *at, const unsigned char *end) {
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t size = strlen(words[i]);
        if ((size_t)(end - at) >= size && memcmp(at, words[i], size) == 0)
            return at + size;
    }
    return NULL;
}

/* False, with an error or without, where this can't go on. */
static int look_through(const unsigned char *at, const unsigned char *end, Table *strings,
                        Table *numbers) {
    const unsigned char *to;
    if (memchr(at, '\\', (size_t)(end - at)) != NULL)
        return 0;
    while (at < end) {
        if (*at == '"') {
            to = memchr(at + 1, '"', (size_t)(end - at - 1));
            if (to == NULL || !add(strings, at + 1, to))
                return 0;
            at = to + 1;
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            if ((to = number_end(at, end)) == NULL || !add(numbers, at, to))
                return 0;
            at = to;
        } else if (strchr("{}[]:, \n\r\t", *at) != NULL && *at != 0) {
            at++;
        } else if ((at = word_end(at, end)) == NULL) {
            return 0;
        }
    }
    return 1;
}

static int look_through_all(PyObject *documents, Table *strings, Table *numbers) {
    Py_ssize_t count = PyList_Size(documents);
    for (Py_ssize_t i = 0; i < count; i++) {
        char *start;
        Py_ssize_t size;
        PyObject *document = PyList_GetItem(documents, i); /* the list holds it until we are done */
        if (document == NULL || PyBytes_AsStringAndSize(document, &start, &size) < 0)
            return 0;
        if (!look_through((const unsigned char *)start, (const unsigned char *)start + size,
                          strings, numbers))
            return 0;
    }
    return count >= 0;
}

static PyObject *told(const Table *strings, const Table *numbers) {
    PyObject *texts = texts_of(strings), *written = NULL, *both = NULL;
    if (texts != NULL && (written = texts_of(numbers)) != NULL)
        both = PyTuple_Pack(2, texts, written);
    Py_XDECREF(texts);
    Py_XDECREF(written);
    if (both == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        PyErr_Clear(); /* said by the parser, which reads it next */
    return both;
}

static PyObject *contents(PyObject *module, PyObject *given) {
    PyObject *documents, *found = NULL;
    unsigned long long seed;
    Table strings = {0}, numbers = {0};
    if (!PyArg_ParseTuple(given, "O!K:contents", &PyList_Type, &documents, &seed))
        return NULL;
    if (begin(&strings, seed) && begin(&numbers, seed) &&
        look_through_all(documents, &strings, &numbers))
        found = told(&strings, &numbers);
    PyMem_Free(strings.slots);
    PyMem_Free(numbers.slots);
    if (found == NULL && !PyErr_Occurred())
        Py_RETURN_NONE;
    return found;
}

#define CONTEXTS 4
#define NAMED 1 /* as privacy/gate.py has it */
#define AT_ONCE 64 /* steps down before the rest is put off */

typedef struct {
    PyObject *texts[CONTEXTS]; /* by name, sets */
    PyObject *pending;         /* by context, what was put off */
    PyObject *below;           /* by name, what it says of what stands below it */
    Py_ssize_t keys;
    long deepest;
} Walk;

/* Also where the dictionary makes what it does not hold. */
static PyObject *held(PyObject *by_name, PyObject *name) {
    PyObject *found = PyDict_GetItemWithError(by_name, name);
    if (found == NULL)
        return PyErr_Occurred() ? NULL : PyObject_GetItem(by_name, name);
    Py_INCREF(found);
    return found;
}

static int note_text(const Walk *walk, long context, PyObject *name, PyObject *text) {
    PyObject *texts = held(walk->texts[context], name);
    int done = texts != NULL && PySet_Add(texts, text) == 0;
    Py_XDECREF(texts);
    return done;
}

/* The context of what stands below this name; negative with an error. */
static long context_below(const Walk *walk, long context, PyObject *name) {
    PyObject *below = held(walk->below, name);
    long found = below == NULL ? -1 : PyLong_AsLong(below);
    Py_XDECREF(below);
    if (found < 0 || found >= CONTEXTS) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "no such context");
        return -1;
    }
    return context | found;
}

static int put_off(const Walk *walk, long context, PyObject *object) {
    PyObject *list = PyList_GetItem(walk->pending, context);
    return list != NULL && PyList_Append(list, object) == 0;
}

static int put_off_list(Walk *walk, long context, PyObject *name, PyObject *items) {
    PyObject *object = PyDict_New();
    int done = object != NULL && PyDict_SetItem(object, name, items) == 0 &&
               put_off(walk, context, object);
    Py_XDECREF(object);
    walk->keys--; /* not theirs */
    return done;
}

static int look_at(Walk *walk, long context, PyObject *name, PyObject *inner, long depth);

static int look_into(Walk *walk, long context, PyObject *node, long depth) {
    PyObject *name, *inner;
    Py_ssize_t at = 0;
    if (depth == AT_ONCE)
        return put_off(walk, context, node);
    if (++depth > walk->deepest)
        walk->deepest = depth;
    walk->keys += PyDict_Size(node);
    while (PyDict_Next(node, &at, &name, &inner))
        if (!look_at(walk, context, name, inner, depth))
            return 0;
    return 1;
}

static int share_out(Walk *walk, long context, PyObject *name, PyObject *items, long depth) {
    long inside = context_below(walk, context, name);
    if (inside < 0)
        return 0;
    for (Py_ssize_t i = 0; i < PyList_Size(items); i++) {
        PyObject *item = PyList_GetItem(items, i);
        int done = 1;
        if (PyDict_CheckExact(item))
            done = look_into(walk, inside, item, depth);
        else if (PyUnicode_CheckExact(item))
            done = note_text(walk, context | (inside & NAMED), name, item);
        else if (PyList_CheckExact(item) && depth < AT_ONCE)
            done = share_out(walk, inside, name, item, depth + 1);
        else if (PyList_CheckExact(item))
            done = put_off_list(walk, inside, name, item);
        if (!done)
            return 0;
    }
    if (depth > walk->deepest)
        walk->deepest = depth;
    return 1;
}

static int look_at(Walk *walk, long context, PyObject *name, PyObject *inner, long depth) {
    if (PyUnicode_CheckExact(inner))
        return note_text(walk, context, name, inner);
    if (PyList_CheckExact(inner))
        return share_out(walk, context, name, inner, depth);
    if (!PyDict_CheckExact(inner))
        return 1;
    context = context_below(walk, context, name);
    return context >= 0 && look_into(walk, context, inner, depth);
}

static PyObject *walked(PyObject *module, PyObject *given) {
    PyObject *nodes;
    Walk walk = {0};
    long context;
    if (!PyArg_ParseTuple(given, "O!l(O!O!O!O!)O!O!:walked", &PyList_Type, &nodes, &context,
                          &PyDict_Type, &walk.texts[0], &PyDict_Type, &walk.texts[1], &PyDict_Type,
                          &walk.texts[2], &PyDict_Type, &walk.texts[3], &PyList_Type,
                          &walk.pending, &PyDict_Type, &walk.below))
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_Size(nodes); i++) {
        PyObject *node = PyList_GetItem(nodes, i);
        if (node == NULL || !PyDict_Check(node)) {
            PyErr_SetString(PyExc_TypeError, "walked: objects are wanted");
            return NULL;
        }
        if (!look_into(&walk, context, node, 0))
            return NULL;
    }
    return Py_BuildValue("nl", walk.keys, walk.deepest);
}

static PyMethodDef functions[] = {
    {"contents", contents, METH_VARARGS, "contents(documents, seed) -> (strings, numbers) | None"},
    {"walked", walked, METH_VARARGS,
     "walked(nodes, context, texts, pending, below) -> (keys, deepest)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "privacy._contents", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__contents(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddStringConstant(module, "SOURCE", SOURCE) < 0)
        Py_CLEAR(module);
    return module;
}
