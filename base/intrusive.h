// Lists whose links live in their elements: nothing is allocated to put something into one. List is doubly linked
// (O(1) removal from the middle), Queue singly linked and first in, first out. They own nothing: an element must leave
// before it dies, and is in one list per link. One thread at a time.
#pragma once

#include "base/assert.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

namespace erlking::base {

/// The link a List's element carries. Not copied with its element.
class ListLink {
 public:
  constexpr ListLink() noexcept = default;
  constexpr ListLink(const ListLink&) noexcept {}
  constexpr ListLink& operator=(const ListLink&) noexcept { return *this; }

  /// Whether the element is in a list.
  constexpr bool is_linked() const noexcept { return next_ != nullptr; }

  /// Takes the element out of the list it is in; a no-op when it is in none. O(1), needs no List.
  constexpr void unlink() noexcept {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  template <class T, auto Member>
  friend class List;

  ListLink* prev_ = nullptr;
  ListLink* next_ = nullptr;
};

/// `List<Timer, &Timer::link>`: a circle through the head's own link, so that neither end is special.
template <class T, auto Member>
class List {
 public:
  List() noexcept { head_.prev_ = head_.next_ = &head_; }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  /// Lets go of what is still in it.
  ~List() { clear(); }

  bool empty() const noexcept { return head_.next_ == &head_; }
  /// Counts: O(n). For tests and reports.
  std::size_t size() const noexcept {
    std::size_t n = 0;
    for (const ListLink* at = head_.next_; at != &head_; at = at->next_) ++n;
    return n;
  }

  /// The ends; null when empty.
  T* front() const noexcept { return empty() ? nullptr : owner(head_.next_); }
  T* back() const noexcept { return empty() ? nullptr : owner(head_.prev_); }

  /// `element` must not be linked.
  void push_back(T& element) noexcept { insert(element.*Member, &head_); }
  void push_front(T& element) noexcept { insert(element.*Member, head_.next_); }

  /// Takes out an end; null when empty.
  T* pop_front() noexcept { return pop(head_.next_); }
  T* pop_back() noexcept { return pop(head_.prev_); }

  /// Takes out `element`, which is in this list or in none (a no-op). O(1).
  void remove(T& element) noexcept { (element.*Member).unlink(); }

  /// Moves all of `other` behind one's own; O(1).
  void append(List& other) noexcept {
    if (other.empty() || &other == this) return;
    other.head_.next_->prev_ = head_.prev_;
    head_.prev_->next_ = other.head_.next_;
    other.head_.prev_->next_ = &head_;
    head_.prev_ = other.head_.prev_;
    other.head_.prev_ = other.head_.next_ = &other.head_;
  }

  /// Unlinks everything; O(n).
  void clear() noexcept {
    while (!empty()) head_.next_->unlink();
  }

  /// Forward, over a list that does not change meanwhile, but for the removal of elements already passed.
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;

    Iterator() noexcept = default;
    T& operator*() const noexcept { return *owner(at_); }
    T* operator->() const noexcept { return owner(at_); }
    Iterator& operator++() noexcept {
      at_ = at_->next_;
      return *this;
    }
    Iterator operator++(int) noexcept { return std::exchange(*this, Iterator(at_->next_)); }
    friend bool operator==(Iterator a, Iterator b) noexcept { return a.at_ == b.at_; }

   private:
    friend class List;
    explicit Iterator(ListLink* at) noexcept : at_(at) {}
    ListLink* at_ = nullptr;
  };
  Iterator begin() noexcept { return Iterator(head_.next_); }
  Iterator end() noexcept { return Iterator(&head_); }

 private:
  static void insert(ListLink& link, ListLink* before) noexcept {
    EK_DCHECK(!link.is_linked());
    link.prev_ = before->prev_;
    link.next_ = before;
    before->prev_->next_ = &link;
    before->prev_ = &link;
  }
  T* pop(ListLink* link) noexcept {
    if (link == &head_) return nullptr;
    link->unlink();
    return owner(link);
  }
  // The element around its link. The offset of a member is the same in every object of a class without virtual bases;
  // it is measured on an address that is never read.
#if defined(__GNUC__)
  __attribute__((no_sanitize("undefined")))
#endif
  static T*
  owner(ListLink* link) noexcept {
    constexpr std::uintptr_t somewhere = std::uintptr_t{1} << 20;
    const std::uintptr_t offset =
        reinterpret_cast<std::uintptr_t>(&(reinterpret_cast<T*>(somewhere)->*Member)) - somewhere;
    return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(link) - offset);
  }

  ListLink head_;
};

/// `Queue<Job, &Job::next>`: first in, first out, through a plain `T* next` of the element (its value outside a queue
/// means nothing).
template <class T, auto Next>
class Queue {
 public:
  constexpr Queue() noexcept = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  /// Leaves `other` empty.
  constexpr Queue(Queue&& other) noexcept
      : front_(std::exchange(other.front_, nullptr)), back_(std::exchange(other.back_, nullptr)) {}

  constexpr bool empty() const noexcept { return front_ == nullptr; }
  /// The one pop_front() would give; null when empty.
  constexpr T* front() const noexcept { return front_; }

  constexpr void push_back(T& element) noexcept {
    element.*Next = nullptr;
    if (front_ == nullptr) {
      front_ = &element;
    } else {
      back_->*Next = &element;
    }
    back_ = &element;
  }
  constexpr void push_front(T& element) noexcept {
    element.*Next = front_;
    if (front_ == nullptr) back_ = &element;
    front_ = &element;
  }

  /// Takes out the oldest; null when empty.
  constexpr T* pop_front() noexcept {
    T* const element = front_;
    if (element != nullptr) front_ = static_cast<T*>(element->*Next);
    return element;
  }

  /// Moves all of `other` behind one's own; O(1).
  constexpr void append(Queue& other) noexcept {
    if (other.front_ == nullptr || &other == this) return;
    if (front_ == nullptr) {
      front_ = other.front_;
    } else {
      back_->*Next = other.front_;
    }
    back_ = other.back_;
    other.front_ = nullptr;
  }

  /// Takes everything: a chain through `next`, oldest first, ending in null.
  constexpr T* take() noexcept { return std::exchange(front_, nullptr); }

  /// Counts: O(n). For tests and reports.
  constexpr std::size_t size() const noexcept {
    std::size_t n = 0;
    for (T* at = front_; at != nullptr; at = static_cast<T*>(at->*Next)) ++n;
    return n;
  }

 private:
  T* front_ = nullptr;
  T* back_ = nullptr;  // means something only while front_ does
};

}  // namespace erlking::base
