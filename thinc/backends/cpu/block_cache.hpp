// Memory for large arrays: blocks that are freed are kept for those that come next.
//
// A network makes arrays of the same sizes again and again. The system takes back what is freed of
// large blocks, and to get pages anew, cleared, can take longer than what is computed in them.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace thinc {

class BlockCache {
public:
    static constexpr std::size_t SMALLEST = std::size_t(64) << 10;   // blocks below are not kept
    static constexpr std::size_t MOST_KEPT = std::size_t(64) << 20;  // bytes, in all blocks

    // The one of this process. Never destroyed: arrays may be freed after everything else.
    static BlockCache& shared() {
        static BlockCache* const cache = new BlockCache;
        return *cache;
    }

    // Aligned to a cache line; null if there is no memory.
    void* allocate(std::size_t bytes, bool zeroed) {
        if (void* kept = take(bytes)) {
            if (zeroed) std::memset(kept, 0, bytes);
            return kept;
        }
        const std::size_t capacity = rounded(bytes);
        if (capacity < bytes || capacity > SIZE_MAX - 2 * LINE) return nullptr;
        const std::size_t size = capacity + 2 * LINE;
        void* const memory = zeroed ? std::calloc(1, size) : std::malloc(size);
        if (!memory) return nullptr;
        const auto aligned = (reinterpret_cast<std::uintptr_t>(memory) + 2 * LINE - 1) & ~(LINE - 1);
        void* const data = reinterpret_cast<void*>(aligned);
        ::new (header(data)) Header{memory, capacity};
        return data;
    }

    void release(void* data) {
        if (!data) return;
        if (header(data)->capacity < SMALLEST || !keep(data)) std::free(header(data)->memory);
    }

    void* reallocate(void* data, std::size_t bytes) {
        void* const moved = allocate(bytes, false);
        if (!moved || !data) return moved;
        const std::size_t old = header(data)->capacity;
        std::memcpy(moved, data, old < bytes ? old : bytes);
        release(data);
        return moved;
    }

    std::size_t kept_bytes() const { return kept_bytes_.load(); }

    // Gives all that is kept back to the system.
    void clear() {
        if (!lock()) return;
        while (count_ > 0) std::free(header(remove(0))->memory);
        unlock();
    }

private:
    static constexpr std::uintptr_t LINE = 64;
    static constexpr int MOST_BLOCKS = 256;

    struct Header {  // in the cache line before the data
        void* memory;
        std::size_t capacity;
    };
    static Header* header(void* data) {
        return reinterpret_cast<Header*>(static_cast<unsigned char*>(data) - LINE);
    }

    // Sizes that differ by little get blocks that fit each other: eight for each doubling.
    static std::size_t rounded(std::size_t bytes) {
        std::size_t step = LINE;
        while (16 * step <= bytes) step *= 2;
        return (bytes + step - 1) / step * step;
    }

    // Nobody waits: who finds the cache in use, in another thread or in the process that this
    // one was forked from, does without it.
    bool lock() { return !busy_.test_and_set(std::memory_order_acquire); }
    void unlock() { busy_.clear(std::memory_order_release); }

    // A kept block that has the size, and is not more than half as large again; null if none.
    void* take(std::size_t bytes) {
        if (bytes < SMALLEST || !lock()) return nullptr;
        int best = -1;
        std::size_t smallest = bytes + bytes / 2;
        for (int i = count_ - 1; i >= 0; i--) {  // the last ones may still be in the CPU's cache
            const std::size_t capacity = header(blocks_[i])->capacity;
            if (capacity >= bytes && capacity < smallest) {
                best = i;
                smallest = capacity;
            }
        }
        void* const found = best < 0 ? nullptr : remove(best);
        unlock();
        return found;
    }

    bool keep(void* data) {
        const std::size_t capacity = header(data)->capacity;
        if (capacity > MOST_KEPT / 2 || !lock()) return false;
        while (count_ == MOST_BLOCKS || kept_bytes_ + capacity > MOST_KEPT)
            std::free(header(remove(0))->memory);  // the one that has waited longest
        blocks_[count_++] = data;
        kept_bytes_ += capacity;
        unlock();
        return true;
    }

    void* remove(int i) {
        void* const data = blocks_[i];
        count_--;
        std::memmove(blocks_ + i, blocks_ + i + 1, (count_ - i) * sizeof(void*));
        kept_bytes_ -= header(data)->capacity;
        return data;
    }

    std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
    void* blocks_[MOST_BLOCKS];  // in the order of their release
    int count_ = 0;
    std::atomic<std::size_t> kept_bytes_{0};
};

}  // namespace thinc
